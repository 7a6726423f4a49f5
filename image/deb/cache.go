package deb

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	unpackedDir = "unpacked"
	// maxIndex bounds an index file: maxEntries of about 300 bytes.
	maxIndex = 256 << 20
	// indexVersion is part of an index file's name; raise it when entry or scan change their meaning.
	indexVersion = "1"
)

// ErrHash marks a package file that is not the one the lock names.
var ErrHash = errors.New("package has another SHA-256")

// load returns a package's contents, from the cache when it is whole.
//
// The cache has two files per package, named by the .deb's hash: the plain data archive, and an index that starts with
// its own hash and names the archive's. Both are verified at every load, so nothing in the cache folder needs trust or
// fsync, and a damaged file only costs time.
func load(ctx context.Context, src Source, cacheDir string) (*contents, error) {
	f, err := os.Open(src.Path)
	if err != nil {
		return nil, fmt.Errorf("unpacking a package: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	h := sha256.New()
	size, err := io.Copy(h, contextReader{ctx, f})
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", src.Path, err)
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if src.SHA256 != "" && src.SHA256 != sum {
		return nil, fmt.Errorf("unpacking %s: %w: %s, want %s", src.Path, ErrHash, sum, src.SHA256)
	}
	stem := filepath.Join(cacheDir, unpackedDir, sum)
	if c, err := loadCached(ctx, stem); err == nil {
		return c, nil
	} else if cause := context.Cause(ctx); cause != nil {
		return nil, fmt.Errorf("unpacking %s: %w", src.Path, cause)
	}
	p, err := read(f, size)
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", src.Path, err)
	}
	c, err := p.unpackTo(ctx, f, stem)
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", p.Origin(), err)
	}
	return c, nil
}

// loadCached fails for every reason to make the cache entry anew.
func loadCached(ctx context.Context, stem string) (*contents, error) {
	f, err := os.Open(indexName(stem))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read side
	raw, err := io.ReadAll(io.LimitReader(f, maxIndex))
	if err != nil {
		return nil, err
	}
	head, body, _ := bytes.Cut(raw, []byte("\n"))
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != string(head) {
		return nil, errors.New("index is damaged")
	}
	c := &contents{tar: tarName(stem)}
	if err := json.Unmarshal(body, c); err != nil {
		return nil, err
	}
	if err := checkTar(ctx, c); err != nil {
		return nil, err
	}
	return c, nil
}

func checkTar(ctx context.Context, c *contents) error {
	t, err := os.Open(c.tar)
	if err != nil {
		return err
	}
	defer t.Close() //nolint:errcheck // read side
	h := sha256.New()
	n, err := io.Copy(h, contextReader{ctx, t})
	if err != nil {
		return err
	}
	if n != c.Size || hex.EncodeToString(h.Sum(nil)) != c.SHA256 {
		return errors.New("unpacked data is damaged")
	}
	return nil
}

// unpackTo writes both cache files; the index comes last, so an interrupted run leaves no entry.
func (p *Package) unpackTo(ctx context.Context, f io.ReaderAt, stem string) (*contents, error) {
	if err := os.MkdirAll(filepath.Dir(stem), 0o755); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	data, err := p.openData(ctx, f)
	if err != nil {
		return nil, err
	}
	defer data.Close() //nolint:errcheck // read side
	var c *contents
	err = replace(tarName(stem), func(w io.Writer) error {
		c, err = scan(ctx, data, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.Name, c.Version, c.Arch, c.tar = p.Name, p.Version, p.Arch, tarName(stem)
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("writing the index: %w", err)
	}
	err = replace(indexName(stem), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%x\n%s", sha256.Sum256(body), body)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func tarName(stem string) string   { return stem + ".tar" }
func indexName(stem string) string { return stem + "." + indexVersion + ".json" }

// replace writes a cache file beside its place and renames it; other processes may do the same at the same time.
func replace(name string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "new-*")
	if err != nil {
		return fmt.Errorf("writing the cache: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("writing the cache: %w", err)
	}
	return nil
}
