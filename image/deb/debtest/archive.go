package debtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Key is an archive's signing key.
type Key struct{ entity *openpgp.Entity }

// NewKey makes a key that is valid from a day before now.
func NewKey(tb testing.TB, now time.Time) Key {
	tb.Helper()
	e, err := openpgp.NewEntity("Test Archive", "", "archive@example.org", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return now.Add(-24 * time.Hour) },
	})
	if err != nil {
		tb.Fatal(err)
	}
	return Key{e}
}

// Public is the key as a binary keyring.
func (k Key) Public(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := k.entity.Serialize(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// Fingerprint is the primary key's, in hex.
func (k Key) Fingerprint() string { return fmt.Sprintf("%x", k.entity.PrimaryKey.Fingerprint) }

// Sign clear-signs a text with all the keys.
func Sign(tb testing.TB, text string, now time.Time, keys ...Key) []byte {
	tb.Helper()
	private := make([]*packet.PrivateKey, len(keys))
	for i, k := range keys {
		private[i] = k.entity.PrivateKey
	}
	var b bytes.Buffer
	w, err := clearsign.EncodeMulti(&b, private, &packet.Config{Time: func() time.Time { return now }})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

// Suite is one suite of an archive to serve.
type Suite struct {
	Name     string
	Packages []Package
	// ValidUntil is left out when it is zero.
	ValidUntil time.Time
	// Date is the release's own; the zero time means the time of signing.
	Date time.Time
}

// Archive is a Debian mirror as files by path. Tests may change or delete files before they serve it.
type Archive struct {
	Files map[string][]byte
	Key   Key
	Now   time.Time
}

// NewArchive builds and signs an archive with component main for amd64.
func NewArchive(tb testing.TB, now time.Time, suites ...Suite) *Archive {
	tb.Helper()
	a := &Archive{Files: map[string][]byte{}, Key: NewKey(tb, now), Now: now}
	for _, s := range suites {
		a.add(tb, s)
	}
	return a
}

const indexPath = "main/binary-amd64/Packages.xz"

func (a *Archive) add(tb testing.TB, s Suite) {
	tb.Helper()
	var list strings.Builder
	for _, p := range s.Packages {
		body := p.Build(tb)
		name := fmt.Sprintf("pool/main/%s/%s_%s.deb", p.Name, p.Name, strings.ReplaceAll(p.Version, ":", "_"))
		a.Files[name] = body
		fmt.Fprintf(&list, "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", p.Control(), name, len(body), sha256.Sum256(body))
	}
	index := Compress(tb, ".xz", []byte(list.String()))
	dist := "dists/" + s.Name + "/"
	a.Files[dist+fmt.Sprintf("main/binary-amd64/by-hash/SHA256/%x", sha256.Sum256(index))] = index
	date := s.Date
	if date.IsZero() {
		date = a.Now
	}
	release := fmt.Sprintf("Origin: Test\nSuite: %s\nCodename: %s\nDate: %s\n", s.Name, s.Name, releaseTime(date))
	if !s.ValidUntil.IsZero() {
		release += "Valid-Until: " + releaseTime(s.ValidUntil) + "\n"
	}
	release += fmt.Sprintf("Acquire-By-Hash: yes\nSHA256:\n %x %d %s\n", sha256.Sum256(index), len(index), indexPath)
	a.Files[dist+"InRelease"] = Sign(tb, release, a.Now, a.Key)
}

func releaseTime(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05") + " UTC" }

// Names lists the files, sorted.
func (a *Archive) Names() []string {
	out := make([]string, 0, len(a.Files))
	for name := range a.Files {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// ServeHTTP serves the files below "/debian/", ranges included.
func (a *Archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, ok := a.Files[strings.TrimPrefix(r.URL.Path, "/debian/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
