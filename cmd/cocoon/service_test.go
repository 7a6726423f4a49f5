package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const serviceFile = "cocoon-gateway.service"

// TestTheServiceIsOneThatSystemdAndTheGatewayTake: its command line has flags that are there, it asks for no right, and systemd
// itself has nothing to say against it, where that is installed.
func TestTheServiceIsOneThatSystemdAndTheGatewayTake(t *testing.T) {
	data, err := os.ReadFile(serviceFile)
	if err != nil {
		t.Fatal(err)
	}
	settings := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = value
		}
	}
	words := strings.Fields(settings["ExecStart"])
	if len(words) < 3 || filepath.Base(words[0]) != program {
		t.Fatalf("it starts %q", words)
	}
	root, _ := newRootCmd(deps{getenv: func(string) string { return "" }})
	cmd, flags, err := root.Find(words[1:])
	if err != nil || cmd.CommandPath() != "cocoon gateway run" {
		t.Fatalf("%v, %v", cmd, err)
	}
	if err := cmd.ParseFlags(flags); err != nil {
		t.Error(err)
	}
	for key, want := range map[string]string{
		"TimerSlackNSec": "2ms", "CapabilityBoundingSet": "", "NoNewPrivileges": "yes", "DynamicUser": "yes", "StateDirectory": program,
	} {
		if got, ok := settings[key]; !ok || got != want {
			t.Errorf("%s=%s, want %s", key, got, want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed: systemd's opinion was not asked")
	}
	// The program is not installed here; everything else is as it is.
	here := filepath.Join(t.TempDir(), serviceFile)
	if err := os.WriteFile(here, []byte(strings.Replace(string(data), words[0], "/bin/true", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", "--generators=no", here).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
