package router

import (
	"context"
	"strings"
	"testing"
	"time"

	"cocoon/measure/ratls"
)

// localWith is the file of a local network's router that makes certificates of profile v2.
func localWith(more string) string {
	return `{"network": "local", "claims": {"role": "proxy", "network_id": -217}` + more + `}`
}

// TestFreshIsWhatTheNarrowestPlaceSays: a port before the command line, the command line before the file.
func TestFreshIsWhatTheNarrowestPlaceSays(t *testing.T) {
	ports := func(first, second string) string {
		one := `{"type": "reverse", "policy_name": "any", "destination_host": "localhost", "destination_port": 11101, "port": `
		return `, "ports": [` + one + `11001` + first + `}, ` + one + `11002` + second + `}]`
	}
	for name, tc := range map[string]struct {
		args, file string
		own        Fresh
		ports      [2]Fresh
	}{
		"nowhere":         {"", localWith(ports("", "")), FreshOff, [2]Fresh{}},
		"file":            {"", localWith(`, "profile": "auto", "fresh": "offer"` + ports("", "")), FreshOffered, [2]Fresh{FreshOffered, FreshOffered}},
		"one port":        {"--profile=auto", localWith(ports(`, "fresh": "require"`, "")), FreshOff, [2]Fresh{FreshRequired}},
		"all but one":     {"--profile=v2 --fresh=require", localWith(ports(`, "fresh": "off"`, "")), FreshRequired, [2]Fresh{FreshOff, FreshRequired}},
		"line over file":  {"--fresh=off", localWith(`, "profile": "v2", "fresh": "require"` + ports("", "")), FreshOff, [2]Fresh{}},
		"profile as well": {"--profile=auto --fresh=offer", localWith(`, "profile": "v1"` + ports("", "")), FreshOffered, [2]Fresh{FreshOffered, FreshOffered}},
	} {
		c, err := Parse(append([]string{"-c", "router.json"}, strings.Fields(tc.args)...), files(tc.file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Fresh != tc.own || c.Ports[0].Fresh != tc.ports[0] || c.Ports[1].Fresh != tc.ports[1] {
			t.Errorf("%s: %d, ports %d and %d", name, c.Fresh, c.Ports[0].Fresh, c.Ports[1].Fresh)
		}
	}
}

// TestFreshIsRefusedWhereItCannotBe: the reason is said at the start, not to every peer.
func TestFreshIsRefusedWhereItCannotBe(t *testing.T) {
	for name, tc := range map[string]struct{ args, file, want string }{
		"another word":      {"-S 8116@any --fresh=maybe", "", `"maybe" is none of off, offer, require`},
		"word in the file":  {"-S 8116@any", localWith(`, "fresh": "must"`), `"must" is none of`},
		"profile v1":        {"-S 8116@any --fresh=offer", localWith(""), "fresh: fresh quotes belong to profile v2"},
		"no claims":         {"-S 8116@any --fresh=require --profile=v2", `{"network": "local"}`, "claims that it is made of is missing"},
		"another's key":     {"-S 8116@any --fresh=offer --profile=auto -C /etc/tdx/tdx", localWith(""), "leave cert_base_name out"},
		"profile of nobody": {"-S 8116@any", localWith(`, "profile": "v3"`), `"v3" is none of v1, v2, auto`},
	} {
		_, err := Parse(append([]string{"-c", "router.json"}, strings.Fields(tc.args)...), files(orEmpty(tc.file)))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	w := newWorld(t)
	for words, want := range map[string]string{"--fresh=require": "this machine makes none", "--fresh=offer": ""} {
		c, err := Parse(append([]string{"-c", "router.json", "-S", "8116@any", "--profile=auto"}, words), files(localWith("")))
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(c, Deps{Now: time.Now, Credentials: w.identity(t, nil), Judge: w.judge, AllowLocal: true})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s without TDX: %v", words, err)
		}
	}
}

func orEmpty(file string) string {
	if file == "" {
		return "{}"
	}
	return file
}

// TestFreshStreamsStayInCryptoTLS: the exchange is their beginning, so that they cannot be taken over; the others are.
func TestFreshStreamsStayInCryptoTLS(t *testing.T) {
	w := newWorld(t)
	c, err := Parse(strings.Fields("-c router.json --profile=auto"), files(localWith(`, "ports": [
		{"port": 11001, "type": "reverse", "policy_name": "any", "destination_host": "localhost", "destination_port": 11101, "fresh": "require"},
		{"port": 11002, "type": "reverse", "policy_name": "any", "destination_host": "localhost", "destination_port": 11102}]`)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(c, Deps{Now: time.Now, Credentials: w.identity(t, nil), Judge: w.judge, AllowLocal: true, Quoter: noQuotes{}})
	if err != nil {
		t.Fatal(err)
	}
	with, without := r.listeners[0].server, r.listeners[1].server
	if with.Detachable || with.Fresh == nil || !with.FreshRequired || !without.Detachable || without.Fresh != nil {
		t.Errorf("with: %+v, without: %+v", with.Endpoint, without.Endpoint)
	}
}

type noQuotes struct{ ratls.Quoter }

func (noQuotes) Quote(context.Context, [64]byte) ([]byte, error) { return nil, context.Canceled }
