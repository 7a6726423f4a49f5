package wheel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	spoolDir = "wheels"
	// maxIndex bounds an index: maxMembers of about 300 bytes.
	maxIndex = 256 << 20
	// copyBuffer is the unit of copies to the spool.
	copyBuffer = 1 << 20
)

// ErrHash marks a wheel that is not the one the list names.
var ErrHash = errors.New("wheel has another SHA-256")

// stored is an unpacked wheel: its files' bytes in one spool file, and where they belong.
type stored struct {
	Project string     `json:"project"`
	Python  string     `json:"python"` // the interpreter that was written into scripts
	Version string     `json:"version"`
	Size    int64      `json:"size"`   // of the spool file
	SHA256  string     `json:"sha256"` // of the spool file
	Files   []file     `json:"files"`
	Scripts []launcher `json:"scripts"`

	spool string
}

// file is one file of an unpacked wheel.
type file struct {
	Scheme scheme `json:"scheme"`
	Path   string `json:"path"` // below the scheme's folder
	Exec   bool   `json:"exec,omitempty"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// scheme names one of the folders that a wheel installs into.
type scheme string

// The folders of the wheel specification; purelib and platlib are one for us.
const (
	site    scheme = "site"
	scripts scheme = "scripts"
	headers scheme = "headers"
	data    scheme = "data"
)

// load returns a wheel's files, from the cache when it is whole. The cache has the spool and an index that starts with
// its own hash and names the spool's; both are verified at every load, so the folder needs no trust.
func load(ctx context.Context, src Source, python, cacheDir string) (*stored, error) {
	f, err := os.Open(src.Path)
	if err != nil {
		return nil, fmt.Errorf("unpacking a wheel: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	sum, size, err := hashReader(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", src.Path, err)
	}
	if sum != src.Entry.SHA256 || size != src.Entry.Size {
		return nil, fmt.Errorf("unpacking %s: %w: %s with %d bytes, want %s with %d",
			src.Entry.File, ErrHash, sum, size, src.Entry.SHA256, src.Entry.Size)
	}
	stem := filepath.Join(cacheDir, spoolDir, sum)
	if s, err := loadStored(ctx, stem); err == nil && s.Python == python {
		return s, nil
	} else if cause := context.Cause(ctx); cause != nil {
		return nil, fmt.Errorf("unpacking %s: %w", src.Entry.File, cause)
	}
	a, err := readArchive(f, size)
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", src.Entry.File, err)
	}
	if Normalise(a.project) != src.Entry.Name {
		return nil, fmt.Errorf("unpacking %s: %w: it holds %q", src.Entry.File, ErrFormat, a.distInfo)
	}
	s, err := a.spoolTo(ctx, stem, python)
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", src.Entry.File, err)
	}
	return s, nil
}

// loadStored fails for every reason to unpack anew.
func loadStored(ctx context.Context, stem string) (*stored, error) {
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
	s := &stored{spool: spoolName(stem)}
	if err := json.Unmarshal(body, s); err != nil {
		return nil, err
	}
	d, err := os.Open(s.spool)
	if err != nil {
		return nil, err
	}
	defer d.Close() //nolint:errcheck // read side
	sum, size, err := hashReader(ctx, d)
	if err != nil {
		return nil, err
	}
	if sum != s.SHA256 || size != s.Size {
		return nil, errors.New("spool is damaged")
	}
	return s, nil
}

func spoolName(stem string) string { return stem + "." + UnpackVersion + ".data" }
func indexName(stem string) string { return stem + "." + UnpackVersion + ".json" }

// spoolTo writes the wheel's files one behind the other, then the index.
func (a *archive) spoolTo(ctx context.Context, stem, python string) (*stored, error) {
	if err := os.MkdirAll(filepath.Dir(stem), 0o755); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	s := &stored{Project: a.project, Python: python, Version: a.version, Scripts: a.scripts, spool: spoolName(stem)}
	err := replace(s.spool, func(w io.Writer) error {
		whole := sha256.New()
		out := &counter{w: io.MultiWriter(w, whole)}
		for _, m := range a.members {
			if err := a.spoolMember(ctx, m, out, s, python); err != nil {
				return fmt.Errorf("member %q: %w", m.path, err)
			}
		}
		s.Size, s.SHA256 = out.n, hex.EncodeToString(whole.Sum(nil))
		return nil
	})
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(s)
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
	return s, nil
}

// spoolMember unpacks one file and compares it with RECORD. Files that do not come into a layer are still compared.
func (a *archive) spoolMember(ctx context.Context, m member, out *counter, s *stored, python string) error {
	r, err := m.zip.Open()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	defer r.Close() //nolint:errcheck // read side
	raw := sha256.New()
	in := &counter{w: raw}
	src := bufio.NewReaderSize(io.TeeReader(contextReader{ctx, r}, in), copyBuffer)
	f, keep, err := a.classify(m)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	to := io.Discard
	placed := sha256.New()
	f.Offset = out.n
	if keep {
		to = io.MultiWriter(out, placed)
	}
	if err := copyMember(to, src, f.Scheme == scripts, python); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := a.verify(m.path, sumOf(raw), in.n); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if keep {
		f.Size, f.SHA256 = out.n-f.Offset, sumOf(placed)
		s.Files = append(s.Files, f)
	}
	return nil
}

// copyMember copies a file; a script gets its interpreter.
func copyMember(to io.Writer, src *bufio.Reader, isScript bool, python string) error {
	if isScript {
		line, err := rewriteShebang(src, python)
		if err != nil {
			return err
		}
		if _, err := to.Write(line); err != nil {
			return err
		}
	}
	_, err := io.Copy(to, src)
	return err
}

// classify says where a member belongs, and whether it comes into a layer at all.
func (a *archive) classify(m member) (f file, keep bool, err error) {
	if isDropped(m.path, a.distInfo) {
		return file{}, false, nil
	}
	f = file{Scheme: site, Path: m.path, Exec: m.exec}
	rest, ok := strings.CutPrefix(m.path, strings.TrimSuffix(a.distInfo, ".dist-info")+".data/")
	if !ok {
		return f, true, nil
	}
	key, rest, ok := strings.Cut(rest, "/")
	if !ok || rest == "" {
		return file{}, false, fmt.Errorf("%q lies beside the folders of the .data scheme", m.path)
	}
	switch key {
	case "purelib", "platlib":
		f.Path = rest
	case "scripts":
		f.Scheme, f.Path, f.Exec = scripts, rest, true
	case "headers":
		f.Scheme, f.Path = headers, rest
	case "data":
		f.Scheme, f.Path = data, rest
	default:
		return file{}, false, fmt.Errorf("%q is no folder of the .data scheme", key)
	}
	return f, true, nil
}

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// counter passes bytes on and counts them.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if c.n > maxUnpacked {
		return n, fmt.Errorf("unpacked data over %d bytes", int64(maxUnpacked))
	}
	return n, err
}

// contextReader stops a long copy when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func hashReader(ctx context.Context, r io.Reader) (sum string, size int64, err error) {
	h := sha256.New()
	size, err = io.CopyBuffer(h, contextReader{ctx, r}, make([]byte, copyBuffer))
	return sumOf(h), size, err
}

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
	w := bufio.NewWriterSize(f, copyBuffer)
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
