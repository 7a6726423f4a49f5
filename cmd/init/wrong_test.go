package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"cocoon/cmd/internal/cli"
	"cocoon/cmd/internal/clitest"
	"cocoon/guest/sandbox"
)

// outside is this command, as it is started outside of a guest.
var outside = clitest.Program{
	Error: "error: init ", Hint: "hint: ",
	Run: func(_ string, words ...string) clitest.Answer {
		ctx, cancel := context.WithTimeout(context.Background(), routerWait) // what is wrongly accepted would serve
		defer cancel()
		var out, errs bytes.Buffer
		code := run(ctx, append([]string{"/init"}, words...), &out, &errs)
		return clitest.Answer{Code: code, Out: out.String(), ErrOut: errs.String()}
	},
}

// roles are the commands that an operator starts.
var roles = []string{"router", "proxy", "worker"}

// TestEveryRoleRefusesWrongWords, and says where the right ones are listed.
func TestEveryRoleRefusesWrongWords(t *testing.T) {
	for _, role := range roles {
		wrong := map[string][]string{
			"flag": {"--no-such-flag"}, "short flag": {"-Z"}, "nothing": nil, "word": {"word"}, "flag without its value": {"-c"},
			"word behind a flag": {"-c", "file", "word"}, "empty name": {"-c", ""},
		}
		if role == "router" {
			for name, words := range map[string]string{
				"port": "-S 80@any", "port, text": "-S x@any", "policy": "-S 8116@nosuch", "no policy": "-S 8116", "leads nowhere": "-R 8116@any",
				"IPv6 without brackets": "-F 9000:::1:9001@any", "twice": "-S 8116@any -S 8116@any", "difficulty": "-S 8116@any -d 99",
				"profile": "-S 8116@any --profile=v9", "reply": "-S 8116@any --socks-reply=soon", "metrics": "-S 8116@any --metrics here",
				"hashes": "-S 8116@tdx:zz", "root": "-S 8116@any --collateral-hash " + strings.Repeat("00", 48), "threads": "-S 8116@any -t -1",
			} {
				wrong[name] = strings.Fields(words)
			}
		}
		for name, more := range wrong {
			outside.Refuses(t, name, append([]string{role}, more...)...)
			if a := outside.Run("", append([]string{role}, more...)...); !strings.Contains(a.ErrOut, outside.Hint) {
				t.Errorf("%s, wrong %s: no hint\n%s", role, name, a.ErrOut)
			}
		}
	}
	outside.Refuses(t, "operands", sandbox.ForwardVerb, "socket")
}

// TestEveryRoleHasHelp on stdout, and a stdout that takes nothing is an error.
func TestEveryRoleHasHelp(t *testing.T) {
	for _, line := range []string{"router -h", "router --help", "router -g", "proxy -h", "worker --help"} {
		a := outside.Run("", strings.Fields(line)...)
		if a.Code != cli.ExitOK || a.ErrOut != "" || !strings.Contains(a.Out, "usage: init ") && !strings.Contains(a.Out, `"ports"`) {
			t.Errorf("%s: exit code %d\n%s%s", line, a.Code, a.Out, a.ErrOut)
		}
		var errs bytes.Buffer
		code := run(t.Context(), append([]string{"/init"}, strings.Fields(line)...), clitest.Full{}, &errs)
		if code != cli.ExitError || !strings.Contains(errs.String(), clitest.ErrFull.Error()) {
			t.Errorf("%s, full: exit code %d\n%s", line, code, errs.String())
		}
	}
	var named []string
	for _, c := range commands() {
		named = append(named, c.name)
	}
	for _, role := range roles {
		if !slices.Contains(named, role) {
			t.Errorf("%s is no command any more", role)
		}
	}
}

// TestWrongFilesAreRefused wherever a role reads one: by name, with the exit code of the table, in bounded memory.
func TestWrongFilesAreRefused(t *testing.T) {
	for name, tc := range map[string]clitest.Reads{
		"router -c":           {Line: "router -c FILE", Wrong: cli.ExitUsage, Any: []string{"null"}},
		"proxy -c":            {Line: "proxy -c FILE", Wrong: cli.ExitUsage},
		"worker -c":           {Line: "worker -c FILE", Wrong: cli.ExitUsage},
		"router -C":           {Line: "router -S 8116@any -C FILE", Wrong: cli.ExitUsage},
		"router --collateral": {Line: "router -S 8116@any --collateral FILE", Wrong: cli.ExitError, Any: []string{"folder"}},
	} {
		t.Run(name, func(t *testing.T) { outside.RefusesFiles(t, tc) })
	}
}
