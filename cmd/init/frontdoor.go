package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"cocoon/guest/boot"
	"cocoon/guest/router"
	"cocoon/guest/supervise"
	"cocoon/measure/bootfiles"
	"cocoon/measure/spec"
)

const (
	// specDir shows the measured spec to the services, file by file.
	specDir = "/run/cocoon/spec"
	// routerSpec is the router's configuration in it.
	routerSpec = "router.json"
	// routerStart bounds the router's first quote and certificate.
	routerStart = 90 * time.Second
	// routerMemory and routerPids bound the router; peers decide how many connections it has.
	routerMemory = 2 << 30
	routerPids   = 512
)

// startService is the hook of the service stage. The services of the roles are not in this build, so every variant but
// the test's ends here; that one runs the router alone, by its measured configuration.
func (s *services) startService(ctx context.Context, st *boot.State) error {
	if st.Image.Variant != bootfiles.Test {
		return &boot.NotInBuildError{Stage: boot.StageService}
	}
	if err := s.startRouter(ctx, st); err != nil {
		return fmt.Errorf("starting router: %w", err)
	}
	st.Detail("role", "not in this build")
	return nil
}

// startRouter runs the router that the spec configures, and lets its reverse listeners be reached.
func (s *services) startRouter(ctx context.Context, st *boot.State) error {
	i := slices.IndexFunc(st.Spec, func(f spec.File) bool { return f.Path == routerSpec })
	if i < 0 {
		return &boot.SkipError{Reason: "the spec has no " + routerSpec}
	}
	data := st.Spec[i].Data
	cfg, err := router.Parse([]string{"-c", routerSpec}, func(string) ([]byte, error) { return data, nil })
	if err != nil {
		return err
	}
	ports := outsidePorts(cfg)
	if len(ports) == 0 {
		return errors.New("no listener is for peers outside")
	}
	if err := writeSpec(specDir, st.Spec); err != nil {
		return err
	}
	if err := s.cgroups.Prepare(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the guest binary: %w", err)
	}
	args := []string{"router", "-c", filepath.Join(specDir, routerSpec)}
	if cfg.Claims != nil { // who has a certificate of profile v2 shows it to peers who ask for it
		args = append(args, "--profile=auto")
	}
	err = s.supervisor.Start(ctx, supervise.Service{
		Name: "router", Required: true,
		Command: func(context.Context) (*exec.Cmd, error) {
			cmd := exec.Command(self, args...) //nolint:noctx // the supervisor ends it
			cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
			cmd.Env = []string{"HOME=/", "PATH=/"}
			return cmd, nil
		},
		Ready:        func(ctx context.Context) error { return listening(ctx, ports) },
		ReadyTimeout: routerStart,
		Restart:      supervise.Restart{Max: 5, Window: time.Hour, Backoff: time.Second},
		Limits:       supervise.Limits{MemoryBytes: routerMemory, Pids: routerPids},
	})
	if err != nil {
		return err
	}
	for _, p := range ports {
		if err := st.OpenPort(p); err != nil {
			return err
		}
	}
	st.Detail("ports", ports)
	return nil
}

// writeSpec writes the measured files below dir. Their paths are clean and relative: the disk's reader refuses others.
func writeSpec(dir string, files []spec.File) error {
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("writing measured spec: %w", err)
		}
		if err := os.WriteFile(path, f.Data, 0o444); err != nil {
			return fmt.Errorf("writing measured spec: %w", err)
		}
	}
	return nil
}

// outsidePorts are the ports that peers outside connect to.
func outsidePorts(cfg *router.Config) []uint16 {
	var out []uint16
	for _, p := range cfg.Ports {
		if p.Kind == router.Reverse {
			out = append(out, p.Listen)
		}
	}
	return out
}

// listening says whether every port accepts connections.
func listening(ctx context.Context, ports []uint16) error {
	for _, p := range ports {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(p))))
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}
