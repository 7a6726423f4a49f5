package ratls

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"

	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// Files of the reference implementation's gen-cert, by what follows the base name (attestation.md section 13).
const (
	suffixCert  = "_cert.pem"
	suffixKey   = "_key.pem"
	suffixImage = "_image_hash.b64"

	pemCert = "CERTIFICATE"
	pemKey  = "PRIVATE KEY" // PKCS#8

	maxPEM = 2 * cert.MaxDER // base64 and the frame
)

// ReadPair reads a certificate and its key as gen-cert writes them. A pair that does not belong together, as one sees
// it while the files are being replaced, is an error.
func ReadPair(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	der, err := onlyBlock(certPEM, pemCert)
	if err != nil {
		return nil, fmt.Errorf("reading certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading certificate: %w", err)
	}
	if _, err := cert.Inspect(leaf, cert.Server); err != nil {
		return nil, err
	}
	if der, err = onlyBlock(keyPEM, pemKey); err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading key: it is a %T, want Ed25519", parsed)
	}
	if public, _ := publicKey(leaf); public != cert.KeyOf(key) {
		return nil, errors.New("reading certificate and key: they do not belong together; if they are being replaced, read them again")
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// onlyBlock returns the content of the one PEM block that data consists of.
func onlyBlock(data []byte, kind string) ([]byte, error) {
	if len(data) > maxPEM {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), maxPEM)
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, fmt.Errorf("no PEM block in it, want one of type %q", kind)
	case block.Type != kind:
		return nil, fmt.Errorf("PEM block is of type %q, want %q", block.Type, kind)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("%d bytes follow the PEM block", len(rest))
	}
	return block.Bytes, nil
}

// ReadFiles reads base_cert.pem and base_key.pem.
func ReadFiles(base string) (*tls.Certificate, error) {
	certPEM, err := readBounded(base + suffixCert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readBounded(base + suffixKey)
	if err != nil {
		return nil, err
	}
	c, err := ReadPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", base+suffixCert, base+suffixKey, err)
	}
	return c, nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	return data, nil
}

// WriteFiles writes base_cert.pem and base_key.pem, and base_image_hash.b64 if there is a quote, so that a reader finds
// all of one certificate or all of another: the names are links into a folder base.d/current, which is itself a link
// that is replaced in one step.
func WriteFiles(base string, c *tls.Certificate) error {
	files, err := contents(c)
	if err != nil {
		return fmt.Errorf("writing credentials: %w", err)
	}
	if err := publish(base, files); err != nil {
		return fmt.Errorf("writing credentials: %w", err)
	}
	return nil
}

type file struct {
	suffix string
	data   []byte
	mode   os.FileMode
}

func contents(c *tls.Certificate) ([]file, error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, err
	}
	out := make([]file, 0, 3)
	out = append(
		out,
		file{suffixCert, pem.EncodeToMemory(&pem.Block{Type: pemCert, Bytes: c.Certificate[0]}), 0o644},
		file{suffixKey, pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: key}), 0o600},
	)
	evidence, err := cert.Inspect(c.Leaf, cert.Server)
	if err != nil {
		return nil, err
	}
	if evidence.Kind != cert.TDX {
		return out, nil
	}
	quote, err := tdx.ParseQuote(evidence.Quote)
	if err != nil {
		return nil, err
	}
	if quote.TD == nil {
		return out, nil
	}
	hash := tdx.ImageHash(&quote.TD.Measurements)
	return append(out, file{suffixImage, []byte(base64.StdEncoding.EncodeToString(hash[:])), 0o644}), nil
}

// publish puts files into a new folder and makes it the current one. The folder before that one is kept: a reader may
// be between two files of it.
func publish(base string, files []file) error {
	home, current := base+".d", "current"
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	sum := sha256.Sum256(files[0].data)
	folder := hex.EncodeToString(sum[:8])
	if err := os.MkdirAll(filepath.Join(home, folder), 0o755); err != nil {
		return err
	}
	for _, f := range files {
		name := filepath.Join(home, folder, filepath.Base(base)+f.suffix)
		if err := renameio.WriteFile(name, f.data, f.mode, renameio.IgnoreUmask()); err != nil {
			return err
		}
	}
	before, _ := os.Readlink(filepath.Join(home, current)) // none the first time
	if err := renameio.Symlink(folder, filepath.Join(home, current)); err != nil {
		return err
	}
	for _, f := range files {
		name := filepath.Base(base) + f.suffix
		if err := linkOnce(filepath.Join(filepath.Base(home), current, name), base+f.suffix); err != nil {
			return err
		}
	}
	return removeExcept(home, current, folder, before)
}

// linkOnce makes name a link, in place of a file that another program may have left there.
func linkOnce(target, name string) error {
	if have, err := os.Readlink(name); err == nil && have == target {
		return nil
	}
	return renameio.Symlink(target, name)
}

func removeExcept(home string, keep ...string) error {
	entries, err := os.ReadDir(home)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !slices.Contains(keep, e.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(home, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Files is Credentials that another program makes: it reads gen-cert's files again and again. There is no V2 in them.
type Files struct {
	base    string
	now     func() time.Time
	current atomic.Pointer[tls.Certificate]
}

// DefaultPoll is how often the reference implementation looks at its files.
const DefaultPoll = 60 * time.Second

// OpenFiles reads the files with the base name for the first time.
func OpenFiles(base string, now func() time.Time) (*Files, error) {
	if now == nil {
		return nil, errors.New("opening credentials: no clock given")
	}
	f := &Files{base: base, now: now}
	return f, f.Reload()
}

// Certificate is the last good pair that was read.
func (f *Files) Certificate(p Profile) (*tls.Certificate, error) {
	if p != V1 {
		return nil, ErrProfile
	}
	c := f.current.Load()
	if c == nil {
		return nil, errors.New("no certificate could be read yet")
	}
	if err := cert.CheckTime(c.Leaf, f.now(), 0); err != nil {
		return nil, err
	}
	return c, nil
}

// Expires is the end of the last good certificate; zero without any.
func (f *Files) Expires() time.Time {
	if c := f.current.Load(); c != nil {
		return c.Leaf.NotAfter
	}
	return time.Time{}
}

// Reload reads the files; if they cannot be used the pair from before stays.
func (f *Files) Reload() error {
	c, err := ReadFiles(f.base)
	if err != nil {
		return err
	}
	f.current.Store(c)
	return nil
}

// Run reloads every so often until ctx ends; failed is told about failures and may be nil.
func (f *Files) Run(ctx context.Context, every time.Duration, failed func(error)) error {
	for wait(ctx, orDefault(every, DefaultPoll)) {
		if err := f.Reload(); err != nil && failed != nil {
			failed(err)
		}
	}
	return nil
}
