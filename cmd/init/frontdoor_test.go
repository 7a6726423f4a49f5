package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/guest/boot"
	"cocoon/guest/config"
	"cocoon/guest/klog"
	"cocoon/guest/router"
	"cocoon/guest/supervise"
	"cocoon/measure/bootfiles"
	"cocoon/measure/spec"
)

func TestTheSpecIsShownToServices(t *testing.T) {
	dir := t.TempDir()
	files := []spec.File{{Path: "role.json", Data: []byte("{}")}, {Path: "policies/a.json", Data: []byte("x")}}
	if err := writeSpec(dir, files); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Path)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != string(f.Data) {
			t.Errorf("%s: %q, %v", f.Path, got, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o444 {
			t.Errorf("%s: %v, %v", f.Path, info.Mode(), err)
		}
	}
}

// TestOnlyPortsForPeersAreOpened: what listens for programs inside stays behind the firewall.
func TestOnlyPortsForPeersAreOpened(t *testing.T) {
	cfg, err := router.Parse([]string{
		"-R", "11001:localhost:11101@any", "-R", "11002:localhost:11102@any", "-S", "8116@any", "-F", "8117:10.0.0.1:9000@any",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint16{11001, 11002}, outsidePorts(cfg)); diff != "" {
		t.Error(diff)
	}
}

// TestTheSpecDecidesWhichServiceRuns: a role with a configuration of its own, else the router alone.
func TestTheSpecDecidesWhichServiceRuns(t *testing.T) {
	file := func(name string) spec.File { return spec.File{Path: name, Data: []byte("{}")} }
	for name, tc := range map[string]struct {
		role   string
		files  []spec.File
		claims bool
		want   []string
	}{
		"router":               {"proxy", []spec.File{file("role.json"), file(routerSpec)}, false, []string{"router", "-c", "/run/cocoon/spec/router.json"}},
		"router with claims":   {"proxy", []spec.File{file(routerSpec)}, true, []string{"router", "-c", "/run/cocoon/spec/router.json", "--profile=auto"}},
		"proxy":                {"proxy", []spec.File{file("proxy.json")}, true, []string{"proxy", "-c", "/run/cocoon/spec/proxy.json"}},
		"worker":               {"worker", []spec.File{file("worker.json"), file("proxy.json")}, false, []string{"worker", "-c", "/run/cocoon/spec/worker.json"}},
		"file of another role": {"worker", []spec.File{file("proxy.json")}, false, []string{"router", "-c", "/run/cocoon/spec/router.json"}},
	} {
		st := boot.NewState(&boot.Deps{Log: klog.New(klog.Options{})})
		st.Measured, st.Spec = &config.Measured{Role: tc.role}, tc.files
		cfg := &router.Config{}
		if tc.claims {
			cfg.Claims = &router.Claims{}
		}
		service, args := new(services).serviceOf(st, cfg)
		if diff := cmp.Diff(tc.want, args); diff != "" || service != tc.want[0] {
			t.Errorf("%s: %s %s", name, service, diff)
		}
	}
}

func TestReadyMeansThatEveryPortAnswers(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // a TCP listener's address
	if err := listening(t.Context(), []uint16{port}); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := listening(t.Context(), []uint16{port}); err == nil {
		t.Error("a closed port counts as ready")
	}
}

func TestSpecsWithoutAUsableRouter(t *testing.T) {
	for name, tc := range map[string]struct {
		files []spec.File
		skip  bool
		want  string
	}{
		"no configuration":     {nil, true, "the spec has no router.json"},
		"malformed":            {[]spec.File{{Path: routerSpec, Data: []byte("{")}}, false, ""},
		"nothing for outside":  {[]spec.File{{Path: routerSpec, Data: []byte(`{"ports":[{"port":8116,"type":"socks5","policy_name":"any"}]}`)}}, false, "no listener is for peers outside"},
		"tdx without an image": {[]spec.File{{Path: routerSpec, Data: []byte(`{"ports":[{"port":11001,"type":"reverse","policy_name":"tdx","destination_host":"localhost","destination_port":11101}]}`)}}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			st := boot.NewState(&boot.Deps{Log: klog.New(klog.Options{})})
			st.Image.Variant, st.Spec = bootfiles.Test, tc.files
			s := newServices(st.Log, supervise.Plain{}, nil, nil)
			err := s.startService(t.Context(), st)
			var skip *boot.SkipError
			if err == nil || errors.As(err, &skip) != tc.skip {
				t.Errorf("err = %v", err)
			}
			if skip != nil && skip.Reason != tc.want {
				t.Errorf("reason %q", skip.Reason)
			}
		})
	}
}

// TestOtherVariantsFailClosed: an image that must serve does not become ready without the service of its role.
func TestOtherVariantsFailClosed(t *testing.T) {
	for _, v := range []bootfiles.Variant{bootfiles.Production, bootfiles.Debug, ""} {
		st := boot.NewState(&boot.Deps{Log: klog.New(klog.Options{})})
		st.Image.Variant = v
		var missing *boot.NotInBuildError
		if err := newServices(st.Log, supervise.Plain{}, nil, nil).startService(t.Context(), st); !errors.As(err, &missing) {
			t.Errorf("variant %q: %v", v, err)
		}
	}
}
