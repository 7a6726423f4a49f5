package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cocoon/cmd/internal/cli"
)

// TestLogsHaveTheFormatAndLevelOfTheFlags, and wrong ones are refused.
func TestLogsHaveTheFormatAndLevelOfTheFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		flags       logFlags
		debug, json bool
	}{
		"as it is": {logFlags{defaultLevel, logText}, false, false},
		"debug":    {logFlags{"debug", logText}, true, false},
		"JSON":     {logFlags{"debug", logJSON}, true, true},
		"errors":   {logFlags{"error", logJSON}, false, true},
	} {
		var out strings.Builder
		a := &app{log: tc.flags}
		a.stderr = &out
		a.logger().Debug("Small")
		a.logger().Error("Large")
		if strings.Contains(out.String(), "Small") != tc.debug || !strings.Contains(out.String(), "Large") || json.Valid([]byte(strings.Split(out.String(), "\n")[0])) != tc.json {
			t.Errorf("%s: %s", name, out.String())
		}
		a.quiet = true
		a.logger().Error("Quiet")
		if strings.Contains(out.String(), "Quiet") {
			t.Errorf("%s: --quiet logs", name)
		}
	}
	for _, words := range [][]string{{"--log-level", "loud"}, {"--log-level", "INFO+1"}, {"--log-format", "xml"}} {
		if o := runIn(t.TempDir(), append(words, "version")...); o.Code != cli.ExitUsage || !strings.Contains(o.ErrOut, "none of") {
			t.Errorf("%v: exit code %d, %s", words, o.Code, o.ErrOut)
		}
	}
}

// TestNothingSecretIsLogged, whatever the level: what the gateway was given to keep is in none of its outputs.
func TestNothingSecretIsLogged(t *testing.T) {
	const canary = "canary-5f1c0de"
	home := t.TempDir()
	secret := filepath.Join(home, "secret")
	if err := os.WriteFile(secret, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	o := runIn(home, "gateway", "run", "--no-intel", "--proxy", "127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--secret-file", secret, "--admin-token-file", secret, "--log-level", "debug", "--log-format", "json", "--timeout", "300ms")
	if o.Code != 0 || !strings.Contains(o.ErrOut, `"msg":"Proxy is not usable"`) {
		t.Errorf("exit code %d, %s", o.Code, o.ErrOut)
	}
	if strings.Contains(o.Out+o.ErrOut, canary) {
		t.Errorf("the secret is in an output:\n%s\n%s", o.Out, o.ErrOut)
	}
	err := filepath.WalkDir(filepath.Join(home, ".local"), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if strings.Contains(string(data), canary) {
			t.Errorf("the secret is in %s", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
