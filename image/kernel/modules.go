package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/therootcompany/xz"

	"cocoon/image/rootfs"
)

const (
	// maxModule bounds one decompressed module; the largest of the pinned kernel (xfs) is 4 MB, and no wanted one
	// exceeds 1 MB.
	maxModule = 64 << 20
	// maxDepth bounds a chain of dependencies; the deepest of ours is 3.
	maxDepth = 32
	// maxWanted bounds the closure; init's list holds at most 256 names.
	maxWanted = 256
)

var nameRule = regexp.MustCompile(`^[a-z0-9_]{1,60}$`)

// Module is one loadable module, decompressed.
type Module struct {
	// Name is the kernel's name, File the name in the initrd: virtio_blk and virtio_blk.ko.
	Name string
	File string
	// Data is the ELF object with the signature that the kernel's builder appended.
	Data []byte
	// Depends are the names that must be loaded before.
	Depends []string
}

// Modules returns the closure of the wanted names in loading order: each module after what it depends on, otherwise
// in the order of the list. Names may be written with dashes or underscores; built-in ones are skipped.
func (k *Kernel) Modules(wanted []string) ([]Module, error) {
	c := closure{kernel: k, done: make(map[string]bool)}
	for _, name := range wanted {
		if err := c.add(name, nil); err != nil {
			return nil, fmt.Errorf("collecting kernel modules: %w", err)
		}
	}
	return c.order, nil
}

type closure struct {
	kernel *Kernel
	done   map[string]bool
	order  []Module
}

// add appends a module and what it needs; chain is the path of names that led here.
func (c *closure) add(name string, chain []string) error {
	name = strings.ReplaceAll(name, "-", "_")
	if !nameRule.MatchString(name) {
		return fmt.Errorf("module name %q does not match %s%s", name, nameRule, because(chain))
	}
	if slices.Contains(chain, name) || len(chain) > maxDepth {
		return fmt.Errorf("module %s depends on itself or too deeply%s", name, because(chain))
	}
	if c.kernel.builtin[name] || c.done[name] {
		return nil
	}
	if len(c.order) >= maxWanted {
		return fmt.Errorf("more than %d modules", maxWanted)
	}
	m, err := c.kernel.read(name)
	if err != nil {
		return fmt.Errorf("%w%s", err, because(chain))
	}
	for _, dep := range m.Depends {
		if err := c.add(dep, append(slices.Clone(chain), name)); err != nil {
			return err
		}
	}
	c.done[name] = true
	c.order = append(c.order, m)
	return nil
}

func because(chain []string) string {
	if len(chain) == 0 {
		return ""
	}
	return " (needed by " + strings.Join(chain, " -> ") + ")"
}

// read decompresses one module and checks that it belongs to this kernel.
func (k *Kernel) read(name string) (Module, error) {
	n, ok := k.files[name]
	if !ok {
		return Module{}, fmt.Errorf("module %s: neither built into kernel %s nor shipped with it", name, k.Version)
	}
	data, err := decompress(k.paths[name], n)
	if err != nil {
		return Module{}, fmt.Errorf("module %s (%s): %w", name, k.paths[name], err)
	}
	info, err := ParseInfo(data)
	if err != nil {
		return Module{}, fmt.Errorf("module %s (%s): %w", name, k.paths[name], err)
	}
	if magic, _, _ := strings.Cut(info.VersionMagic, " "); magic != k.Version {
		return Module{}, fmt.Errorf("module %s (%s): built for kernel %q, this is %s", name, k.paths[name], magic, k.Version)
	}
	if info.Name != name {
		return Module{}, fmt.Errorf("module %s (%s): calls itself %q", name, k.paths[name], info.Name)
	}
	return Module{Name: name, File: name + ".ko", Data: data, Depends: info.Depends}, nil
}

func decompress(path string, n *rootfs.Inode) ([]byte, error) {
	r, err := n.Content.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // read side
	var src io.Reader = r
	if strings.HasSuffix(path, ".xz") {
		if src, err = xz.NewReader(r, xz.DefaultDictMax); err != nil {
			return nil, fmt.Errorf("decompressing: %w", err)
		}
	}
	var out bytes.Buffer
	if _, err := io.Copy(&out, io.LimitReader(src, maxModule+1)); err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	if out.Len() > maxModule {
		return nil, fmt.Errorf("decompressing: more than %d bytes", maxModule)
	}
	if out.Len() == 0 {
		return nil, errors.New("decompressing: no data")
	}
	return out.Bytes(), nil
}
