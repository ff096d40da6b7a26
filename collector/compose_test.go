package collector

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// composeFile is a compose file, as far as it is of interest here.
type composeFile struct {
	Name     string             `yaml:"name"`
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
	Configs  map[string]struct {
		Content string `yaml:"content"`
	} `yaml:"configs"`
}

type service struct {
	Image       string         `yaml:"image"`
	Build       map[string]any `yaml:"build"`
	Profiles    []string       `yaml:"profiles"`
	Command     []string       `yaml:"command"`
	Entrypoint  []string       `yaml:"entrypoint"`
	Environment map[string]any `yaml:"environment"`
	Ports       []string       `yaml:"ports"`
	Volumes     []string       `yaml:"volumes"`
	Configs     []struct {
		Source string `yaml:"source"`
		Target string `yaml:"target"`
	} `yaml:"configs"`
	ReadOnly    bool           `yaml:"read_only"`
	Privileged  bool           `yaml:"privileged"`
	CapDrop     []string       `yaml:"cap_drop"`
	SecurityOpt []string       `yaml:"security_opt"`
	User        string         `yaml:"user"`
	NetworkMode string         `yaml:"network_mode"`
	Restart     string         `yaml:"restart"`
	Healthcheck map[string]any `yaml:"healthcheck"`
	DependsOn   map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Deploy struct {
		Resources struct {
			Limits map[string]string `yaml:"limits"`
		} `yaml:"resources"`
	} `yaml:"deploy"`
}

// composeFiles are read with their folder, which their paths are relative to.
var composeFiles = []string{"../docker-compose.yml", "lgtm.yml"}

func readCompose(t *testing.T, path string) composeFile {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c composeFile
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if len(c.Services) == 0 {
		t.Fatalf("%s has no services", path)
	}
	return c
}

func TestComposePublishesOnLoopbackOnly(t *testing.T) {
	loopback := regexp.MustCompile(`^127\.0\.0\.1:(\$\{[A-Z_]+:-\d+\}|\d+):\d+$`)
	for _, path := range composeFiles {
		published := 0
		for name, s := range readCompose(t, path).Services {
			for _, port := range s.Ports {
				published++
				if !loopback.MatchString(port) {
					t.Errorf("%s: %s publishes %s, want it on 127.0.0.1", path, name, port)
				}
			}
			if s.NetworkMode == "host" {
				t.Errorf("%s: %s is on the host's network", path, name)
			}
		}
		if published < 2 {
			t.Errorf("%s: %d ports, want the gateway's and Grafana's at least", path, published)
		}
	}
}

func TestComposePinsImages(t *testing.T) {
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?$`)
	for _, path := range composeFiles {
		for name, s := range readCompose(t, path).Services {
			if s.Build != nil {
				if s.Image != "ccproxy:local" {
					t.Errorf("%s: %s is built here and called %s", path, name, s.Image)
				}
				continue
			}
			if !pinned.MatchString(s.Image) {
				t.Errorf("%s: %s runs %s, want a full version", path, name, s.Image)
			}
		}
	}
}

func TestComposeServicesAreConfined(t *testing.T) {
	const composed = "../docker-compose.yml"
	for name, s := range readCompose(t, composed).Services {
		if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: read_only %v, privileged %v, cap_drop %v, security_opt %v", name, s.ReadOnly, s.Privileged, s.CapDrop, s.SecurityOpt)
		}
		if s.User != "" && name != "volumes" {
			t.Errorf("%s runs as %s", name, s.User)
		}
		if l := s.Deploy.Resources.Limits; l["cpus"] == "" || l["memory"] == "" {
			t.Errorf("%s has no limit of CPU or memory: %v", name, l)
		}
		if s.Restart != "unless-stopped" && name != "volumes" {
			t.Errorf("%s: restart %q", name, s.Restart)
		}
	}
}

func TestComposeRefersToWhatExists(t *testing.T) {
	for _, path := range composeFiles {
		c := readCompose(t, path)
		for name, s := range c.Services {
			for _, volume := range s.Volumes {
				source, _, _ := strings.Cut(volume, ":")
				if !strings.HasPrefix(source, ".") {
					if _, ok := c.Volumes[source]; !ok {
						t.Errorf("%s: %s mounts volume %s, which is not declared", path, name, source)
					}
					continue
				}
				if _, err := os.Stat(filepath.Join(filepath.Dir(path), source)); err != nil {
					t.Errorf("%s: %s mounts %s: %v", path, name, source, err)
				}
				if !strings.HasSuffix(volume, ":ro") {
					t.Errorf("%s: %s may write to %s", path, name, source)
				}
			}
			for _, config := range s.Configs {
				if c.Configs[config.Source].Content == "" {
					t.Errorf("%s: %s uses config %s, which is not declared", path, name, config.Source)
				}
			}
			for other := range s.DependsOn {
				if _, ok := c.Services[other]; !ok {
					t.Errorf("%s: %s depends on %s, which is not there", path, name, other)
				}
			}
			for _, word := range append(slices.Clone(s.Command), s.Entrypoint...) {
				if _, file, ok := strings.Cut(word, "/etc/ccproxy/"); ok && file != "ccproxy.yaml" {
					if _, err := os.Stat(file); err != nil {
						t.Errorf("%s: %s is started with %s: %v", path, name, word, err)
					}
				}
			}
		}
	}
}

// A health check of an image without a shell asks a program that the image has.
func TestComposeHealthChecksNeedNoShell(t *testing.T) {
	for _, path := range composeFiles {
		for name, s := range readCompose(t, path).Services {
			test, ok := s.Healthcheck["test"].([]any)
			if !ok {
				continue
			}
			if test[0] != "CMD" {
				t.Errorf("%s: %s: health check %v wants a shell", path, name, test)
			}
		}
	}
}

func TestComposeHoldsNoSecrets(t *testing.T) {
	secret := regexp.MustCompile(`(?i)(password|token|api_?key|secret)`)
	for _, path := range composeFiles {
		for name, s := range readCompose(t, path).Services {
			for key, value := range s.Environment {
				if v, _ := value.(string); secret.MatchString(key) && v != "" && !strings.HasPrefix(v, "${") {
					t.Errorf("%s: %s: %s is %q, want a variable", path, name, key, v)
				}
			}
		}
	}
}

// What is tested is what runs: the modules of builder.yaml and of the stack's tests are the versions of the images.
func TestComposeRunsTheVersionsThatAreTested(t *testing.T) {
	services := readCompose(t, "../docker-compose.yml").Services
	b := readBuilder(t)
	if got, want := services["collector"].Image, "otel/opentelemetry-collector-contrib:"+b.Dist.Version; got != want {
		t.Errorf("the Collector is %s, builder.yaml makes %s", got, want)
	}
	for _, m := range b.modules() {
		_, version, _ := strings.Cut(m, " ")
		if version != "v"+b.Dist.Version && !strings.HasPrefix(version, "v1.") {
			t.Errorf("builder.yaml: %s is not of version %s", m, b.Dist.Version)
		}
	}
	// Prometheus' module is v0.MAJOR×100+MINOR.PATCH.
	if got, want := services["prometheus"].Image, "prom/prometheus:v3.16.0"; got != want || prometheusModule != "v0.316.0" {
		t.Errorf("Prometheus is %s, want %s; its module %s", got, want, prometheusModule)
	}
	if got, want := services["alertmanager"].Image, "prom/alertmanager:"+alertmanagerModule; got != want {
		t.Errorf("Alertmanager is %s, want %s", got, want)
	}
}
