package router

import (
	"fmt"
	"strings"
	"testing"
)

// TestReloadRefused: a configuration that cannot take effect changes nothing.
func TestReloadRefused(t *testing.T) {
	w := newWorld(t)
	r := start(t, w, w.identity(t, nil), "-d 0 -R 11001:localhost:11101@any", "")
	for name, args := range map[string]string{
		"another port":   "-R 11002:localhost:11101@any",
		"another policy": "-R 11001:localhost:11101@tdx --image-source=defer",
		"one port more":  "-R 11001:localhost:11101@any -S 8116@any",
		"the chain":      "-R 11001:localhost:11101@any -P mine:tdx --image-source=chain",
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Parse(strings.Fields(args), nil)
			if err != nil {
				t.Fatal(err)
			}
			before := r.policies.Load()
			if err := r.Reload(cfg); err == nil {
				t.Error("accepted")
			}
			if r.policies.Load() != before {
				t.Error("policies have changed")
			}
		})
	}
}

// TestReloadTellsWhatWaits: a file that changes more than its policies says in the log what has not taken effect.
func TestReloadTellsWhatWaits(t *testing.T) {
	w := newWorld(t)
	port := `{"port": 11001, "type": "reverse", "policy_name": "any", "destination_host": "localhost", "destination_port": 11101%s}`
	file := func(rest, more string) string { return `{"ports": [` + fmt.Sprintf(port, rest) + `]` + more + `}` }
	for name, tc := range map[string]struct{ args, file, want string }{
		"nothing else":    {"", file("", `, "policies": [{"name": "mine", "type": "any"}]`), ""},
		"a limit":         {"", file(`, "limits": {"pending": 5}`, ""), "ports[0]"},
		"all limits":      {"", file("", `, "limits": {"handshake": "3s"}`), "ports[0]"},
		"a difficulty":    {"-d 3", file("", ""), "ports[0]"},
		"an address":      {"", file(`, "host": "127.0.0.1"`, ""), "ports[0]"},
		"the collateral":  {"--collateral bundle.json", file("", ""), "collateral"},
		"the profile":     {"--profile v2", file("", ""), "profile"},
		"the preamble":    {"--preamble dec", file("", ""), "preamble"},
		"the metrics":     {"--metrics 127.0.0.1:9", file("", ""), "metrics"},
		"the certificate": {"-C /x", file("", ""), "cert_base_name"},
		"the processors":  {"-t 3", file("", ""), "threads"},
		"the verbosity":   {"-v 9", file("", ""), "verbosity"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, w, w.identity(t, nil), "", file("", ""))
			cfg, err := Parse(strings.Fields("-c router.json "+tc.args), files(tc.file))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Reload(cfg); err != nil {
				t.Fatal(err)
			}
			log := r.log.String()
			if waits := strings.Contains(log, "waits for a restart"); waits != (tc.want != "") || !strings.Contains(log, "keys=["+tc.want+"]") && waits {
				t.Errorf("want keys %q, log:\n%s", tc.want, log)
			}
		})
	}
}
