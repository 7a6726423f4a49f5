package router

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestReloadRefused: a configuration that cannot take effect changes nothing.
func TestReloadRefused(t *testing.T) {
	w := newWorld(t)
	r := start(t, w, w.identity(t, nil), "-d 0 -R 11001:localhost:11101@any", "")
	for name, args := range map[string]string{
		"another port":    "-R 11002:localhost:11101@any",
		"another policy":  "-R 11001:localhost:11101@tdx --image-source=defer",
		"one port more":   "-R 11001:localhost:11101@any -S 8116@any",
		"the chain":       "-R 11001:localhost:11101@any -P mine:tdx --image-source=chain",
		"a local network": "-c router.json -R 11001:localhost:11101@any", // whose policies may admit what proves nothing
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Parse(strings.Fields(args), files(`{"network": "local"}`))
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
		"all limits":      {"", file("", `, "limits": {"handshake": "3s"}`), "limits ports[0]"},
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
			if waits := strings.Contains(log, "waits for a restart"); waits != (tc.want != "") || !strings.Contains(log, "["+tc.want+"]") && waits {
				t.Errorf("want keys %q, log:\n%s", tc.want, log)
			}
		})
	}
}

// TestSessionsOfAPolicyThatIsGoneEnd: a name that no policy has any more admits nobody, also not who is there.
func TestSessionsOfAPolicyThatIsGoneEnd(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	far := start(t, w, id, "-d 0 -R 11001:"+serveInner(t, echo).dest()+"@any", "")
	near := start(t, w, id, "-m 8 -S 8116@any -P mine:any -P other:any", "")
	conn, err := near.Dial(t.Context(), "mine", far.addr[11001])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the router has closed it
	stays, err := near.Dial(t.Context(), "other", far.addr[11001])
	if err != nil {
		t.Fatal(err)
	}
	defer stays.Close() //nolint:errcheck // the test is over
	_ = conn.SetDeadline(time.Now().Add(within))
	cfg, err := Parse(strings.Fields("-S 8116@any -P other:any"), nil)
	if err == nil {
		err = near.Reload(cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("a session of the policy that is gone reads %d, %v", n, err)
	}
	if _, err := near.Dial(t.Context(), "mine", far.addr[11001]); err == nil {
		t.Error("a policy that is gone admits a peer")
	}
	if n := len(near.Sessions()); n != 1 {
		t.Errorf("%d sessions are live, want the one of the other policy", n)
	}
}
