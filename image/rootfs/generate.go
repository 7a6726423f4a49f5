package rootfs

import (
	"bytes"
	"cmp"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxCertificateFile bounds one file of a certificate bundle; Mozilla's are about 2 kB.
const maxCertificateFile = 64 << 10

// noLogin is the shell of every generated account: nobody logs in to a measured guest.
const noLogin = "/usr/sbin/nologin"

// generate makes the recipe's files. A package's file of the same path is replaced.
func generate(t *Tree, r Rules) error {
	for _, g := range r.Generate {
		data, err := g.bytes(t, r)
		if err != nil {
			return fmt.Errorf("%s: %w", g.Path, err)
		}
		inode := &Inode{Type: File, Mode: 0o644, Content: Bytes(data), Origin: OriginRecipe}
		if err := t.Replace(g.Path, inode); err != nil {
			return err
		}
	}
	return nil
}

func (g Generated) bytes(t *Tree, r Rules) ([]byte, error) {
	switch g.Kind {
	case Certificates:
		return certificates(t, g.From)
	case Passwd:
		return passwd(r.Users), nil
	case GroupFile:
		return groups(r.Groups), nil
	default:
		return []byte(g.Text), nil
	}
}

// certificates concatenates what update-ca-certificates would have, in bytewise order instead of a locale's.
func certificates(t *Tree, pattern string) ([]byte, error) {
	p, err := CompilePattern(pattern)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, n := range t.Nodes() {
		if n.Inode.Type != File || !p.Match(n.Path) {
			continue
		}
		if n.Inode.Content.Size > maxCertificateFile {
			return nil, fmt.Errorf("%s: %d bytes, at most %d", n.Path, n.Inode.Content.Size, maxCertificateFile)
		}
		data, err := n.Inode.Content.ReadAll()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Path, err)
		}
		if err := checkCertificates(data); err != nil {
			return nil, fmt.Errorf("%s: %w", n.Path, err)
		}
		out.Write(data)
		if !bytes.HasSuffix(data, []byte("\n")) {
			out.WriteByte('\n')
		}
	}
	if out.Len() == 0 {
		return nil, fmt.Errorf("no file matches %q", pattern)
	}
	return out.Bytes(), nil
}

// checkCertificates accepts PEM certificates and nothing else: a private key or junk in a trust bundle is a mistake.
func checkCertificates(data []byte) error {
	count := 0
	for rest := data; len(bytes.TrimSpace(rest)) > 0; count++ {
		if !bytes.HasPrefix(bytes.TrimSpace(rest), []byte("-----BEGIN CERTIFICATE-----")) {
			return errors.New("text that is not a PEM certificate")
		}
		block, next := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return errors.New("damaged PEM certificate")
		}
		rest = next
	}
	if count == 0 {
		return errors.New("no certificate")
	}
	return nil
}

// passwd renders passwd(5), ordered by id.
func passwd(users []User) []byte {
	sorted := slices.SortedFunc(slices.Values(users), func(a, b User) int { return cmp.Compare(a.UID, b.UID) })
	var out strings.Builder
	for _, u := range sorted {
		fmt.Fprintf(&out, "%s:x:%d:%d::%s:%s\n", u.Name, u.UID, u.GID, u.Home, noLogin)
	}
	return []byte(out.String())
}

// groups renders group(5), ordered by id.
func groups(list []Group) []byte {
	sorted := slices.SortedFunc(slices.Values(list), func(a, b Group) int { return cmp.Compare(a.GID, b.GID) })
	var out strings.Builder
	for _, g := range sorted {
		fmt.Fprintf(&out, "%s:x:%d:%s\n", g.Name, g.GID, strings.Join(slices.Sorted(slices.Values(g.Members)), ","))
	}
	return []byte(out.String())
}
