package measuretest

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"cocoon/measure/tdx"
)

// ProviderTDX is what the provider attribute says in a TD.
const ProviderTDX = "tdx_guest"

// ConfigFS is the kernel's /sys/kernel/config/tsm/report of a TD (Linux, Documentation/ABI/testing/configfs-tsm-report
// and drivers/virt/coco/guest/report.c): a folder per requester, a generation that each write moves on, a report that is
// made when outblob is read. Calls are serialised as the kernel's semaphore does.
type ConfigFS struct {
	// Provider overrides what the provider attribute says; empty means ProviderTDX.
	Provider string
	// NewReport runs before a report is made, in the place of the driver: a driver that still waits for an earlier
	// quote says syscall.EBUSY, one whose service does not answer syscall.ETIMEDOUT.
	NewReport func() error
	// Edit changes what outblob holds, as a host may.
	Edit func(quote []byte) []byte

	td      *TD
	mu      sync.Mutex
	made    int
	entries map[string]*reportEntry
}

// reportEntry is one requester's folder; written and read are the kernel's write and read generations.
type reportEntry struct {
	inblob, outblob []byte
	written, read   uint64
}

// NewConfigFS makes the tree of a TD.
func NewConfigFS(td *TD) *ConfigFS { return &ConfigFS{td: td, entries: map[string]*reportEntry{}} }

// reportDir is where the kernel shows the tree.
const reportDir = "/sys/kernel/config/tsm/report"

// split takes a path apart into a requester's folder and an attribute; both may be empty.
func split(name string) (entry, attribute string, ok bool) {
	rest, ok := strings.CutPrefix(path.Clean(name), reportDir)
	entry, attribute, _ = strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	return entry, attribute, ok && !strings.Contains(attribute, "/")
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// MkdirTemp makes a requester's folder.
func (c *ConfigFS) MkdirTemp(dir, pattern string) (string, error) {
	if entry, _, ok := split(dir); !ok || entry != "" {
		return "", pathError("mkdir", dir, syscall.ENOENT)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	entry := fmt.Sprintf("%s%d", pattern, c.made)
	c.entries[entry] = new(reportEntry)
	return path.Join(reportDir, entry), nil
}

// find resolves a path to a requester's folder and an attribute in it; the caller holds the lock.
func (c *ConfigFS) find(op, name string) (*reportEntry, string, error) {
	entry, attribute, ok := split(name)
	if !ok || c.entries[entry] == nil {
		return nil, "", pathError(op, name, syscall.ENOENT)
	}
	return c.entries[entry], attribute, nil
}

// WriteFile writes an attribute; a TD's reports have only inblob.
func (c *ConfigFS) WriteFile(name string, contents []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, attribute, err := c.find("open", name)
	switch {
	case err != nil:
		return err
	case attribute != "inblob":
		return pathError("open", name, syscall.EACCES)
	case len(contents) == 0 || len(contents) > tdx.ReportDataSize:
		return pathError("write", name, syscall.EINVAL)
	case e.written == e.read-1: // so many writes that the generations would meet again
		return pathError("write", name, syscall.EBUSY)
	}
	e.written++
	e.inblob = slices.Clone(contents)
	return nil
}

// ReadFile reads an attribute; reading outblob makes the report unless the last one is still current.
func (c *ConfigFS) ReadFile(name string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, attribute, err := c.find("open", name)
	if err != nil {
		return nil, err
	}
	switch attribute {
	case "generation":
		return fmt.Appendf(nil, "%d\n", e.written), nil
	case "provider":
		if c.Provider != "" {
			return []byte(c.Provider + "\n"), nil
		}
		return []byte(ProviderTDX + "\n"), nil
	case "outblob":
		if err := c.generate(e); err != nil {
			return nil, pathError("read", name, err)
		}
		return slices.Clone(e.outblob), nil
	}
	return nil, pathError("open", name, syscall.ENOENT)
}

func (c *ConfigFS) generate(e *reportEntry) error {
	if len(e.inblob) == 0 {
		return syscall.EINVAL
	}
	if e.outblob != nil && e.read == e.written {
		return nil
	}
	if c.NewReport != nil {
		if err := c.NewReport(); err != nil {
			return err
		}
	}
	if len(e.inblob) != tdx.ReportDataSize { // the driver of TDX takes nothing shorter
		return syscall.EINVAL
	}
	quote, err := c.td.Quote(context.Background(), [tdx.ReportDataSize]byte(e.inblob))
	if err != nil {
		return syscall.EIO
	}
	if c.Edit != nil {
		quote = c.Edit(quote)
	}
	e.outblob, e.read = quote, e.written
	return nil
}

// RemoveAll removes a requester's folder.
func (c *ConfigFS) RemoveAll(dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry, attribute, ok := split(dir)
	if !ok || c.entries[entry] == nil || attribute != "" {
		return pathError("rmdir", dir, syscall.ENOENT)
	}
	delete(c.entries, entry)
	return nil
}

// ReadDir is not needed by requesters; the kernel's folders can be listed, this one cannot.
func (c *ConfigFS) ReadDir(dir string) ([]os.DirEntry, error) {
	return nil, pathError("readdir", dir, syscall.EOPNOTSUPP)
}

// Entries counts the requesters' folders, so that a leak of them shows.
func (c *ConfigFS) Entries() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}
