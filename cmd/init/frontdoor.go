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
	"cocoon/guest/config"
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
	// serviceStart bounds a service's first quote and certificate.
	serviceStart = 90 * time.Second
	// serviceMemory and servicePids bound a service; peers decide how many connections it has.
	serviceMemory = 2 << 30
	servicePids   = 512
)

// startService is the hook of the service stage. Without a chain to settle on, the roles run in test networks alone, so
// every variant but the test's ends here. That one runs what its measured configuration is for: the role, with the router
// in its process, or the router alone.
func (s *services) startService(ctx context.Context, st *boot.State) error {
	if st.Image.Variant != bootfiles.Test {
		return &boot.NotInBuildError{Stage: boot.StageService}
	}
	data, ok := specFile(st.Spec, routerSpec)
	if !ok {
		return &boot.SkipError{Reason: "the spec has no " + routerSpec}
	}
	cfg, err := router.Parse([]string{"-c", routerSpec}, func(string) ([]byte, error) { return data, nil })
	if err != nil {
		return err
	}
	service, args := s.serviceOf(st, cfg)
	if service == "worker" {
		data, _ := specFile(st.Spec, "worker.json")
		if err := checkWorkerSpec(data, st.Measured.Model); err != nil {
			return fmt.Errorf("starting worker: %w", err)
		}
	}
	ports := outsidePorts(cfg)
	if service == "router" && len(ports) == 0 {
		return errors.New("starting router: no listener is for peers outside")
	}
	if err := writeSpec(specDir, st.Spec); err != nil {
		return err
	}
	if err := s.startProcess(ctx, service, args, ports); err != nil {
		return fmt.Errorf("starting %s: %w", service, err)
	}
	for _, p := range ports {
		if err := st.OpenPort(p); err != nil {
			return err
		}
	}
	st.Detail("service", service)
	st.Detail("ports", ports)
	return nil
}

// serviceOf says which service the spec is for, and its command line.
func (s *services) serviceOf(st *boot.State, cfg *router.Config) (name string, args []string) {
	if st.Measured != nil {
		if _, ok := specFile(st.Spec, st.Measured.Role+".json"); ok && st.Measured.Role+".json" != config.RoleFile {
			return st.Measured.Role, []string{st.Measured.Role, "-c", filepath.Join(specDir, st.Measured.Role+".json")}
		}
	}
	args = []string{"router", "-c", filepath.Join(specDir, routerSpec)}
	if cfg.Claims != nil { // who has a certificate of profile v2 shows it to peers who ask for it
		args = append(args, "--profile=auto")
	}
	return "router", args
}

func specFile(files []spec.File, name string) ([]byte, bool) {
	i := slices.IndexFunc(files, func(f spec.File) bool { return f.Path == name })
	if i < 0 {
		return nil, false
	}
	return files[i].Data, true
}

// startProcess supervises one service, which is ready when every port answers.
func (s *services) startProcess(ctx context.Context, name string, args []string, ports []uint16) error {
	if err := s.cgroups.Prepare(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the guest binary: %w", err)
	}
	return s.supervisor.Start(ctx, supervise.Service{
		Name: name, Required: true,
		Command: func(context.Context) (*exec.Cmd, error) {
			cmd := exec.Command(self, args...) //nolint:noctx // the supervisor ends it
			cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
			cmd.Env = []string{"HOME=/", "PATH=/"}
			return cmd, nil
		},
		Ready:        func(ctx context.Context) error { return listening(ctx, ports) },
		ReadyTimeout: serviceStart,
		Restart:      supervise.Restart{Max: 5, Window: time.Hour, Backoff: time.Second},
		Limits:       supervise.Limits{MemoryBytes: serviceMemory, Pids: servicePids},
	})
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
