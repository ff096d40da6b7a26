package caller

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"sync"

	"github.com/ccproxy/ccproxy/gateway"
)

const (
	prefix = "ccp_"
	// minSecret and maxSecret bound a secret after its prefix, in bytes. 27
	// characters of base 62 are 160 bits.
	minSecret = 27
	maxSecret = 508
	// newSecret characters of base 62 are 190 bits.
	newSecret = 32
	newID     = 16
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// randomText returns n random characters of base 62, each as likely as any
// other.
func randomText(n int) string {
	out := make([]byte, 0, n)
	var pool [64]byte
	for len(out) < n {
		rand.Read(pool[:]) // never fails: without randomness the process ends
		for _, b := range pool {
			// 248 is the largest multiple of 62 in a byte.
			if b < 248 && len(out) < n {
				out = append(out, base62[b%62])
			}
		}
	}
	return string(out)
}

func makeSecret() gateway.Secret { return gateway.Secret(prefix + randomText(newSecret)) }

func makeID() string { return "key_" + randomText(newID) }

// fileID is the id of a key of the file. It depends on nothing but the name, so
// that a new secret continues what the old one has spent.
func fileID(name string) string {
	sum := sha256.Sum256([]byte("ccproxy file key\x00" + name))
	return "key_f" + base64.RawURLEncoding.EncodeToString(sum[:12])
}

// wellFormed reports whether s has the shape of a gateway key. Nothing else is
// ever looked at.
func wellFormed(s string) bool {
	if len(s) < len(prefix)+minSecret || len(s) > len(prefix)+maxSecret || s[:len(prefix)] != prefix {
		return false
	}
	for i := len(prefix); i < len(s); i++ {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// hintOf is what may be shown of a well-formed secret.
func hintOf(s gateway.Secret) string {
	v := s.Reveal()
	return prefix + "…" + v[len(v)-4:]
}

// digest is HMAC-SHA-256 of a secret, whole.
type digest [sha256.Size]byte

// digester makes digests with one pepper. It is safe for concurrent use.
type digester struct{ pool sync.Pool }

// digestState is what making a digest needs, so that it allocates nothing.
type digestState struct {
	mac hash.Hash
	in  [len(prefix) + maxSecret]byte
	out digest
}

func newDigester(pepper []byte) *digester {
	return digesterOf(func() hash.Hash { return hmac.New(sha256.New, pepper) })
}

func digesterOf(mac func() hash.Hash) *digester {
	return &digester{pool: sync.Pool{New: func() any { return &digestState{mac: mac()} }}}
}

// digest returns the digest of a secret, which must be well-formed.
func (d *digester) digest(secret string) digest {
	s := d.pool.Get().(*digestState)
	defer d.pool.Put(s)
	s.mac.Reset()
	n := copy(s.in[:], secret)
	s.mac.Write(s.in[:n])
	s.mac.Sum(s.out[:0])
	clear(s.in[:n])
	return s.out
}

// pepperID tells peppers apart and reveals nothing of them.
func pepperID(pepper []byte) []byte {
	m := hmac.New(sha256.New, pepper)
	m.Write([]byte("ccproxy pepper"))
	return m.Sum(nil)[:8]
}
