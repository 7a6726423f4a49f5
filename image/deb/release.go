package deb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const (
	// maxInRelease bounds the signed file; Debian's are about 150 kB.
	maxInRelease = 4 << 20
	// maxKeyring bounds a keyring; Debian's whole one is about 60 kB.
	maxKeyring = 4 << 20
	// maxSignatures bounds the packets tried; Debian signs with two or three keys.
	maxSignatures = 32
	signedHead    = "-----BEGIN PGP SIGNED MESSAGE-----"
	armorHead     = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
)

// What is wrong with an archive's signed file.
var (
	ErrUnsigned  = errors.New("not clear-signed")
	ErrSignature = errors.New("no good signature by a key of the keyring")
	ErrExpired   = errors.New("index has expired")
	ErrOtherName = errors.New("index is of another suite")
)

var hexHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Release is a verified InRelease file.
type Release struct {
	Suite, Codename string
	Date            time.Time
	ValidUntil      time.Time // zero when the archive sets none
	Signers         []string  // fingerprints of primary keys with a good signature, in hex, sorted
	files           map[string]Listed
}

// Listed is what a release says about one of its files.
type Listed struct {
	SHA256 string
	Size   int64
}

// File looks up a file below dists/SUITE.
func (r *Release) File(name string) (Listed, error) {
	f, ok := r.files[name]
	if !ok {
		return Listed{}, fmt.Errorf("the release of %s does not list %s", r.Codename, name)
	}
	return f, nil
}

// ReadKeyring reads public keys, binary or as one or more armored blocks.
func ReadKeyring(data []byte) (openpgp.EntityList, error) {
	if len(data) > maxKeyring {
		return nil, fmt.Errorf("reading a keyring: over %d bytes", maxKeyring)
	}
	read, blocks := openpgp.ReadKeyRing, [][]byte{data}
	if at := bytes.Index(data, []byte(armorHead)); at >= 0 { // comments may stand between blocks
		read, blocks = openpgp.ReadArmoredKeyRing, splitBefore(data[at:], []byte(armorHead))
	}
	var all openpgp.EntityList
	for i, block := range blocks {
		keys, err := read(bytes.NewReader(block))
		if err == nil && len(keys) == 0 {
			err = errors.New("it has no keys")
		}
		if err != nil {
			return nil, fmt.Errorf("reading a keyring: block %d: %w", i+1, err)
		}
		all = append(all, keys...)
	}
	return all, nil
}

// splitBefore cuts data, which starts with sep, in front of every sep.
func splitBefore(data, sep []byte) [][]byte {
	parts := bytes.Split(data, sep)[1:]
	for i, part := range parts {
		parts[i] = slices.Concat(sep, part)
	}
	return parts
}

// VerifyRelease checks an InRelease file against a keyring and returns what it says. At least one signature must be
// good; signatures by other keys do not count. Expiry and name are Release.Check's business.
func VerifyRelease(data []byte, keyring openpgp.EntityList, now time.Time) (*Release, error) {
	if len(data) > maxInRelease {
		return nil, fmt.Errorf("verifying InRelease: over %d bytes", maxInRelease)
	}
	if !bytes.HasPrefix(data, []byte(signedHead)) {
		return nil, fmt.Errorf("verifying InRelease: %w: it starts with %.40q", ErrUnsigned, data[:min(40, len(data))])
	}
	block, rest := clearsign.Decode(data)
	if block == nil || len(bytes.TrimSpace(rest)) != 0 {
		return nil, fmt.Errorf("verifying InRelease: %w: it is no single signed message", ErrUnsigned)
	}
	signers, err := verifySignatures(block, keyring, now)
	if err != nil {
		return nil, fmt.Errorf("verifying InRelease: %w", err)
	}
	r, err := parseRelease(block.Plaintext)
	if err != nil {
		return nil, fmt.Errorf("reading InRelease: %w", err)
	}
	r.Signers = signers
	return r, nil
}

// verifySignatures tries each signature packet by itself, to learn all the signers.
func verifySignatures(block *clearsign.Block, keyring openpgp.EntityList, now time.Time) ([]string, error) {
	config := &packet.Config{Time: func() time.Time { return now }}
	raw, err := io.ReadAll(io.LimitReader(block.ArmoredSignature.Body, maxInRelease))
	if err != nil {
		return nil, fmt.Errorf("%w: reading the signature: %w", ErrSignature, err)
	}
	var signers []string
	var causes []error
	packets := packet.NewReader(bytes.NewReader(raw))
	for n := 0; ; n++ {
		p, err := packets.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || n == maxSignatures {
			return nil, fmt.Errorf("%w: signature packet %d: %w", ErrSignature, n+1, errors.Join(err, errors.New("unreadable, or too many")))
		}
		sig, ok := p.(*packet.Signature)
		if !ok {
			return nil, fmt.Errorf("%w: packet %d is no signature", ErrSignature, n+1)
		}
		signer, err := verifyOne(block.Bytes, sig, keyring, config)
		if err != nil {
			causes = append(causes, err)
			continue
		}
		signers = append(signers, signer)
	}
	if len(signers) == 0 {
		return nil, fmt.Errorf("%w: %w", ErrSignature, errors.Join(causes...))
	}
	slices.Sort(signers)
	return slices.Compact(signers), nil
}

func verifyOne(text []byte, sig *packet.Signature, keyring openpgp.EntityList, config *packet.Config) (string, error) {
	var one bytes.Buffer
	if err := sig.Serialize(&one); err != nil {
		return "", err
	}
	by := "unknown key"
	if sig.IssuerKeyId != nil {
		by = fmt.Sprintf("key %016x", *sig.IssuerKeyId)
	}
	entity, err := openpgp.CheckDetachedSignature(keyring, bytes.NewReader(text), &one, config)
	if err != nil {
		return "", fmt.Errorf("%s: %w", by, err)
	}
	return hex.EncodeToString(entity.PrimaryKey.Fingerprint), nil
}

// Check refuses another suite's index (a replay under a wrong name) and an expired one.
func (r *Release) Check(name string, now time.Time, acceptExpired bool) error {
	if r.Codename != name && r.Suite != name {
		return fmt.Errorf("checking the index of %s: %w: codename %q, suite %q", name, ErrOtherName, r.Codename, r.Suite)
	}
	if !acceptExpired && r.expired(now) {
		return fmt.Errorf("checking the index of %s: %w: valid until %s, now it is %s: use a current mirror, or let the recipe accept it for a frozen one",
			name, ErrExpired, r.ValidUntil.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

func (r *Release) expired(now time.Time) bool {
	return !r.ValidUntil.IsZero() && now.After(r.ValidUntil)
}

func parseRelease(text []byte) (*Release, error) {
	p, err := parseParagraph(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r := &Release{Suite: p.Get("Suite"), Codename: p.Get("Codename"), files: map[string]Listed{}}
	if r.Date, err = parseDate(p.Get("Date")); err != nil {
		return nil, fmt.Errorf("date: %w", err)
	}
	if until := p.Get("Valid-Until"); until != "" {
		if r.ValidUntil, err = parseDate(until); err != nil {
			return nil, fmt.Errorf("valid-until: %w", err)
		}
	}
	for line := range strings.SplitSeq(strings.TrimSpace(p.Get("SHA256")), "\n") {
		f := strings.Fields(line)
		if len(f) != 3 || !hexHash.MatchString(f[0]) {
			return nil, fmt.Errorf("line %.120q of SHA256: want hash, size, name", line)
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || size < 0 {
			return nil, fmt.Errorf("line %.120q of SHA256: size", line)
		}
		r.files[f[2]] = Listed{SHA256: f[0], Size: size}
	}
	return r, nil
}

// parseDate reads RFC 5322 dates in UTC, as Debian writes them.
func parseDate(s string) (time.Time, error) {
	t, err := time.Parse("Mon, 02 Jan 2006 15:04:05 MST", s)
	if err != nil {
		if t, err = time.Parse("Mon, _2 Jan 2006 15:04:05 MST", s); err != nil {
			return time.Time{}, err
		}
	}
	if zone, offset := t.Zone(); offset != 0 || (zone != "UTC" && zone != "GMT") {
		return time.Time{}, fmt.Errorf("%q is not in UTC", s)
	}
	return t.UTC(), nil
}
