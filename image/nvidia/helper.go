package nvidia

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"cocoon/image/buildroot"
)

const (
	// helperPackage is the only program of the repository that needs cgo.
	helperPackage = "./cmd/gpuattest"
	// helperOut is where the linker leaves it inside the root.
	helperOut = "out/gpuattest"
	// helperDeadline bounds its compilation, which includes the standard library; it takes about 2 minutes on two cores.
	helperDeadline = time.Hour
	// linkFlags: go-nvml leaves the library's symbols undefined until they are called, so binding must be lazy (gpu.md
	// section 3.3); a build id would be a hash over what debug data had.
	linkFlags = "-Wl,-z,lazy -Wl,--build-id=none"
)

// HelperSpec says how gpuattest is compiled.
type HelperSpec struct {
	Toolchain Toolchain
	// Module is this repository's folder, GoRoot the pinned Go toolchain's, ModCache the module cache's.
	Module   string
	GoRoot   string
	ModCache string
	// GoVersion is the lock's, without "go"; the result must say the same.
	GoVersion string
}

// BuildHelper compiles gpuattest with the C compiler of the locked packages and returns the program. Inside the root
// every path is fixed, so no path of the builder can reach the output.
func BuildHelper(ctx context.Context, s HelperSpec) (out []byte, err error) {
	defer func() { err = errors.Join(err, s.Toolchain.clean()) }()
	tree, err := s.Toolchain.tree(ctx)
	if err != nil {
		return nil, fmt.Errorf("preparing gpuattest: %w", err)
	}
	root, err := s.Toolchain.enter(ctx, tree)
	if err != nil {
		return nil, fmt.Errorf("preparing gpuattest: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, helperDeadline)
	defer cancel()
	binds, err := s.binds()
	if err != nil {
		return nil, fmt.Errorf("preparing gpuattest: %w", err)
	}
	jobs := max(s.Toolchain.Workers, 1)
	err = root.Run(ctx, buildroot.Command{
		Args: []string{
			"/usr/local/go/bin/go", "build", fmt.Sprintf("-p=%d", jobs), "-mod=readonly", "-trimpath", "-buildvcs=false",
			"-ldflags", "-s -w -buildid= -linkmode=external -extldflags '" + linkFlags + "'",
			"-o", "/" + helperOut, helperPackage,
		},
		Dir:   "/module",
		Binds: binds,
		Env: []string{
			"PATH=/usr/local/go/bin:/usr/sbin:/usr/bin", "GOROOT=/usr/local/go", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1",
			"GOTOOLCHAIN=local", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off", "GOENV=off", "GOPROXY=off", "GOSUMDB=off",
			"GOMODCACHE=/modcache", "GOCACHE=/tmp/cache", "GOTELEMETRY=off", "CGO_ENABLED=1", "CC=/usr/bin/gcc-14",
			"CGO_CFLAGS=-O2 -Wno-deprecated-declarations", "CGO_LDFLAGS=", "TMPDIR=/tmp",
		},
		Log: s.Toolchain.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("compiling gpuattest: %w", err)
	}
	out, err = root.ReadFile(helperOut)
	if err != nil {
		return nil, fmt.Errorf("compiling gpuattest: %w", err)
	}
	if err := CheckHelper(out, s.GoVersion); err != nil {
		return nil, err
	}
	return out, nil
}

func (s HelperSpec) binds() ([]buildroot.Bind, error) {
	out := []buildroot.Bind{{Source: s.Module, Inside: "module"}, {Source: s.GoRoot, Inside: "usr/local/go"}, {Source: s.ModCache, Inside: "modcache"}}
	for i := range out {
		abs, err := filepath.Abs(out[i].Source)
		if err != nil {
			return nil, err
		}
		out[i].Source = abs
	}
	return out, nil
}

// CheckHelper reads the program's own record and its dynamic section: the pinned toolchain, no path, the C library and
// nothing else, lazy binding.
func CheckHelper(program []byte, goVersion string) error {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("checking gpuattest: %w", err)
	}
	if info.GoVersion != "go"+goVersion {
		return fmt.Errorf("checking gpuattest: it was built by %s, the lock says go%s", info.GoVersion, goVersion)
	}
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("checking gpuattest: %w", err)
	}
	defer f.Close() //nolint:errcheck // it reads memory
	needed, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("checking gpuattest: %w", err)
	}
	if !slices.Equal(needed, []string{"libc.so.6"}) {
		return fmt.Errorf("checking gpuattest: it needs the libraries %q, want the C library alone", needed)
	}
	for _, tag := range []struct {
		tag  elf.DynTag
		flag uint64
	}{{elf.DT_FLAGS, uint64(elf.DF_BIND_NOW)}, {elf.DT_FLAGS_1, uint64(elf.DF_1_NOW)}} {
		values, err := f.DynValue(tag.tag)
		if err != nil {
			return fmt.Errorf("checking gpuattest: %w", err)
		}
		for _, v := range values {
			if v&tag.flag != 0 {
				return fmt.Errorf("checking gpuattest: %s asks for immediate binding, which ends the process at its start", tag.tag)
			}
		}
	}
	return nil
}
