package pipeline

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cocoon/image/deb"
	"cocoon/image/lock"
	"cocoon/image/qemu"
)

const (
	qemuName = "qemu"
	// qemuPackage is the package whose version is QEMU's.
	qemuPackage = "qemu-system-x86"
)

// upstreamRule takes QEMU's own version out of Debian's: 11.1.3 of 1:11.1.3+ds-1~bpo13+1.
var upstreamRule = regexp.MustCompile(`^(?:[0-9]+:)?([0-9]+(?:\.[0-9]+)+)`)

// QEMU is a locked QEMU that can be started where it lies.
type QEMU struct {
	Version  string // QEMU's own: 11.1.3
	Group    string // of the lock
	Launcher string // what takes QEMU's arguments, in the cache
	Packages int
	Size     int64 // bytes of the unpacked files
}

// InstallQEMU unpacks a locked QEMU into the cache, if it is not there yet: the same folder for the same packages. The
// Go toolchain plays no part, so none is asked for.
func InstallQEMU(ctx context.Context, o Options, version string, report Reporter) (*QEMU, error) {
	b, q, err := planQEMU(o, version)
	if err != nil {
		return nil, err
	}
	c, err := openCache(b.opts.CacheDir)
	if err != nil {
		return nil, err
	}
	d := &driver{cache: c, noCache: b.opts.NoCache, workers: 1, report: report, now: b.opts.Now}
	results, err := d.run(ctx, b.steps)
	if err != nil {
		return nil, err
	}
	q.found(results[qemuName])
	return q, nil
}

// PlanQEMU says where InstallQEMU would put a locked QEMU and touches nothing. Its size is 0 while it is not there.
func PlanQEMU(o Options, version string) (*QEMU, error) {
	b, q, err := planQEMU(o, version)
	if err != nil {
		return nil, err
	}
	key, err := b.steps[0].key(nil)
	if err != nil {
		return nil, err
	}
	c := &cache{filepath.Join(b.opts.CacheDir, "steps")}
	q.Launcher = filepath.Join(c.dir, key, qemu.Launcher)
	if r := c.load(key); r != nil {
		q.found(r)
	}
	return q, nil
}

// planQEMU makes the table of one row.
func planQEMU(o Options, version string) (*build, *QEMU, error) {
	o, err := o.complete()
	if err != nil {
		return nil, nil, err
	}
	b, err := newBuild(o)
	if err != nil {
		return nil, nil, err
	}
	if err := b.lock.Check(b.recipe.SHA256, b.lock.Go); err != nil {
		return nil, nil, err
	}
	q, err := b.qemu(version)
	if err != nil {
		return nil, nil, err
	}
	return b, q, b.qemuStep(q)
}

// found fills in what a finished step tells.
func (q *QEMU) found(r *Result) {
	q.Launcher = filepath.Join(r.dir, qemu.Launcher)
	for _, f := range r.Outputs {
		q.Size += f.Size
	}
}

// qemu finds the group that has a version.
func (b *build) qemu(version string) (*QEMU, error) {
	have := make(map[string]*QEMU)
	for _, g := range b.recipe.Groups {
		arts := b.lock.InGroup(g.Name)
		i := slices.IndexFunc(arts, func(a lock.Artefact) bool { return a.Kind == lock.Deb && a.Name == qemuPackage })
		if i < 0 {
			continue
		}
		if m := upstreamRule.FindStringSubmatch(arts[i].Version); m != nil {
			have[m[1]] = &QEMU{Version: m[1], Group: g.Name, Packages: len(arts)}
		}
	}
	if q := have[version]; q != nil {
		return q, nil
	}
	return nil, fmt.Errorf("%w: no QEMU %q in the lock; there are: %s", ErrUsage, version,
		strings.Join(slices.Sorted(maps.Keys(have)), ", "))
}

// qemuStep fetches and unpacks; a finished folder needs neither network nor packages.
func (b *build) qemuStep(q *QEMU) error {
	inputs, err := b.lockInputs(q.Group)
	if err != nil {
		return err
	}
	b.add(step{
		Name: qemuName, Kind: qemuName, Version: 1, Inputs: inputs, Outputs: []string{qemu.Launcher}, Deadline: fetchDeadline,
		Run: func(ctx context.Context, w *work) error {
			arts := b.lock.InGroup(q.Group)
			if err := b.store.Ensure(ctx, arts, b.opts.fetchOptions(fetchProgress(arts, w.progress))); err != nil {
				return err
			}
			return b.unpackQEMU(ctx, q, w)
		},
	})
	return nil
}

func (b *build) unpackQEMU(ctx context.Context, q *QEMU, w *work) error {
	sources, err := b.sources(q.Group, func(string) deb.Selection { return deb.Selection{} })
	if err != nil {
		return err
	}
	tree, err := deb.UnpackAll(ctx, sources, b.opts.Workers, b.debCache())
	if err != nil {
		return err
	}
	files, err := qemu.Select(tree)
	if err != nil {
		return err
	}
	if err := qemu.Write(ctx, w.Dir, files); err != nil {
		return err
	}
	for _, f := range files {
		if f.Name != qemu.Launcher {
			w.Outputs = append(w.Outputs, f.Name)
		}
	}
	// A QEMU that does not start here must not look finished.
	version, err := qemu.Version(ctx, w.out(qemu.Launcher))
	if err != nil {
		return err
	}
	if version != q.Version {
		return fmt.Errorf("the packages of group %s are QEMU %s, their program says %s", q.Group, q.Version, version)
	}
	w.Detail = fmt.Sprintf("%s, %d packages, %d files", version, len(sources), len(files))
	return nil
}
