package collector

// Versions of the servers' modules, which the tests of the stack build.
const (
	prometheusModule   = "v0.316.0"
	alertmanagerModule = "v0.34.2"
	builderModule      = "v0.165.0"
)
