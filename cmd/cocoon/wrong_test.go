package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/cmd/internal/clitest"
	"cocoon/tests/golden"
)

// eachVerb calls f for every command that does something, by its words.
func eachVerb(f func(words []string, cmd *cobra.Command)) {
	root, _ := newRootCmd(deps{getenv: func(string) string { return "" }})
	var walk func(cmd *cobra.Command, words []string)
	walk = func(cmd *cobra.Command, words []string) {
		for _, sub := range cmd.Commands() {
			if sub.Name() != "help" && sub.Name() != "completion" {
				walk(sub, append(slices.Clone(words), sub.Name()))
			}
		}
		if !cmd.HasSubCommands() {
			f(words, cmd)
		}
	}
	walk(root, nil)
}

// verbs is this command, without a terminal.
var verbs = clitest.Program{Error: "cocoon: error: ", Hint: "cocoon: hint: ", Run: runIn}

// runIn runs a command line for a user whose folders are below home.
func runIn(home string, words ...string) clitest.Answer {
	var out, errOut strings.Builder
	d := testDeps(&out, &errOut)
	d.getenv = func(name string) string { return map[string]string{"HOME": home}[name] }
	code := run(words, d)
	return clitest.Answer{Code: code, Out: out.String(), ErrOut: errOut.String()}
}

// TestEveryVerbRefusesWrongWords: a wrong flag, a word too many, a time that is none. The text says what to do next, and who
// asked for documents gets one.
func TestEveryVerbRefusesWrongWords(t *testing.T) {
	tried := 0
	eachVerb(func(words []string, cmd *cobra.Command) {
		tried++
		wrong := map[string][]string{"flag": {"--no-such-flag"}, "short flag": {"-Z"}, "value": {"--timeout", "soon"}, "empty format": {"--output", ""}}
		if cmd.Args != nil && cmd.Args(cmd, make([]string, 99)) != nil {
			wrong["words"] = slices.Repeat([]string{"word"}, 99)
		}
		if cmd.Args != nil && cmd.Args(cmd, nil) != nil {
			wrong["nothing"] = nil
		} else if cmd.Args != nil && cmd.Args(cmd, []string{}) == nil {
			wrong["time below zero"] = []string{"--timeout", "-1s"}
		}
		for name, more := range wrong {
			verbs.Refuses(t, name, append(slices.Clone(words), more...)...)
			if name == "empty format" {
				continue
			}
			o := runIn(t.TempDir(), slices.Concat(words, more, []string{"-o", "json"})...)
			if err := validate(cli.ErrorSchema, o.Out); err != nil {
				t.Errorf("%s, wrong %s, as JSON: %v\n%s", cmd.CommandPath(), name, err, o.Out)
			}
		}
	})
	if tried < 50 {
		t.Errorf("%d verbs were tried", tried)
	}
}

// TestEveryVerbHasHelp with a sentence, an example that begins with the verb, and no line over 100 columns.
func TestEveryVerbHasHelp(t *testing.T) {
	eachVerb(func(words []string, cmd *cobra.Command) {
		o := runIn(t.TempDir(), append(slices.Clone(words), "--help")...)
		if o.Code != 0 || o.ErrOut != "" || cmd.Short == "" || !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s: exit code %d, %q, example %q", cmd.CommandPath(), o.Code, o.ErrOut, cmd.Example)
		}
		for line := range strings.Lines(o.Out) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 100 {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), n, line)
			}
		}
	})
}

// TestWrongFilesAreRefused wherever a command reads one: by name, with the exit code of the table, in bounded memory, and
// before anything is written.
func TestWrongFilesAreRefused(t *testing.T) {
	t.Parallel()
	const address = "0:1111111111111111111111111111111111111111111111111111111111111111"
	proxied := "gateway run --no-intel --proxy 127.0.0.1:1 --listen 127.0.0.1:0 "
	onChain := "--root-contract " + address + " --network localnet --global-config "
	here, root := verbs, golden.Root(t)
	here.Run = func(home string, words ...string) clitest.Answer {
		places := []string{"--root", root, "--cache", filepath.Join(home, "cache"), "--out", filepath.Join(home, "out")}
		return runIn(home, slices.Concat(places, []string{"--quiet", "--timeout", "10s"}, words)...)
	}
	for name, tc := range map[string]clitest.Reads{
		"image inspect":                  {Line: "image inspect FILE", Wrong: cli.ExitError},
		"image diff":                     {Line: "image diff FILE FILE", Wrong: cli.ExitError},
		"image verify":                   {Line: "image verify FILE", Wrong: cli.ExitError},
		"image lock wheels":              {Line: "image lock wheels FILE", Wrong: cli.ExitError},
		"collateral fetch --quote":       {Line: "collateral fetch --no-intel --quote FILE", Wrong: cli.ExitError},
		"collateral fetch --bundle":      {Line: "collateral fetch --no-intel --fmspc 00a06d080000 --bundle FILE", Wrong: cli.ExitError, Any: []string{"folder"}},
		"collateral fetch --trust-root":  {Line: "collateral fetch --no-intel --fmspc 00a06d080000 --trust-root FILE", Wrong: cli.ExitUsage},
		"collateral show":                {Line: "collateral show FILE", Wrong: cli.ExitDifference, Any: []string{"folder"}},
		"gateway run --config":           {Line: proxied + "--config FILE", Wrong: cli.ExitUsage},
		"gateway run --secret-file":      {Line: proxied + "--secret-file FILE", Wrong: cli.ExitUsage, Any: []string{"binary", "truncated", "list", "null", "unknown", "deep"}},
		"gateway run --admin-token-file": {Line: proxied + "--admin-token-file FILE", Wrong: cli.ExitUsage, Any: []string{"binary", "truncated", "list", "null", "unknown", "deep"}},
		"gateway run --keys":             {Line: proxied + "--keys FILE", Wrong: cli.ExitUsage},
		"gateway run --policy":           {Line: proxied + "--policy FILE", Wrong: cli.ExitUsage},
		"gateway run --worker-policy":    {Line: proxied + "--worker-policy FILE", Wrong: cli.ExitUsage},
		"gateway run --budgets":          {Line: proxied + "--budgets FILE", Wrong: cli.ExitError, Any: []string{"missing", "folder"}},
		"gateway check --collateral":     {Line: "gateway check --no-intel --proxy 127.0.0.1:1 --collateral FILE", Wrong: cli.ExitError, Any: []string{"folder"}},
		"gateway run --global-config":    {Line: "gateway run --no-intel --test-network --listen 127.0.0.1:0 " + onChain + "FILE", Wrong: cli.ExitUsage},
		"root show":                      {Line: "root show " + onChain + "FILE", Wrong: cli.ExitUsage},
		"root publish":                   {Line: "root publish FILE " + onChain + "FILE", Wrong: cli.ExitUsage},
		"client topup --sign-with":       {Line: "client topup " + address + " --amount 1 --sign-with FILE --global-config FILE", Wrong: cli.ExitUsage},
		"receipt verify": {
			Line:  "receipt verify FILE --attestation FILE --session FILE --request FILE --response FILE --price-per-token 20 --no-intel --client-contract " + address + " --proxy-contract " + address,
			Wrong: cli.ExitDifference, Unnamed: true,
			Any: []string{"deep"}, // more than a receipt may have
		},
		"peer inspect --policy":         {Line: "peer inspect 127.0.0.1:1 --no-intel --policy FILE", Wrong: cli.ExitUsage},
		"localnet up --guest":           {Line: "localnet up --listen 127.0.0.1:0 --guest FILE", Wrong: cli.ExitUsage},
		"localnet up --model":           {Line: "localnet up --listen 127.0.0.1:0 --guest FILE --model FILE", Wrong: cli.ExitUsage},
		"localnet simtdx --prediction":  {Line: "localnet simtdx --seed " + strings.Repeat("11", 32) + " --guest tcp:127.0.0.1:0 --prediction FILE", Wrong: cli.ExitUsage},
		"localnet up --chat-template":   {Line: "localnet up --listen 127.0.0.1:0 --engine llama-server --guest FILE --chat-template FILE", Wrong: cli.ExitUsage},
		"localnet run --guest":          {Line: "localnet run --listen 127.0.0.1:0 --guest FILE true", Wrong: cli.ExitUsage},
		"localnet up --detach, --guest": {Line: "localnet up --detach --listen 127.0.0.1:0 --guest FILE", Wrong: cli.ExitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here.RefusesFiles(t, tc)
		})
	}
}

// TestUnwritablePlacesAreNamed: the error has the place and fits the verb, and the exit code is the table's.
func TestUnwritablePlacesAreNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(file, "below")
	for name, line := range map[string]string{
		"receipts":   "gateway run --no-intel --proxy 127.0.0.1:1 --listen 127.0.0.1:0 --receipts " + below,
		"store":      "collateral serve --no-intel --listen 127.0.0.1:0 --store " + below,
		"chain":      "localnet chain --dir " + below,
		"network":    "localnet up --guest /bin/true --listen 127.0.0.1:0 --dir " + below,
		"cache":      "image fetch --offline --cache " + below,
		"wallet":     "wallet new " + below,
		"simulation": "localnet simtdx --seed " + strings.Repeat("11", 32) + " --guest unix:" + filepath.Join(t.TempDir(), "s") + " --write " + below,
	} {
		o := runIn(t.TempDir(), strings.Fields(line+" --root "+golden.Root(t))...)
		if err := verbs.Complaint(o); err != nil || !strings.Contains(o.ErrOut, file) || o.Out != "" {
			t.Errorf("%s: %v, exit code %d, stdout %q\n%s", name, err, o.Code, o.Out, o.ErrOut)
		}
	}
}

// TestResultsThatCannotBeWrittenAreErrors of every verb that only prints.
func TestResultsThatCannotBeWrittenAreErrors(t *testing.T) {
	for _, line := range []string{"version", "version -o json", "image ls", "image ls -o jsonl", "localnet up --dry-run", "image lock check"} {
		var errOut bytes.Buffer
		d := testDeps(new(strings.Builder), new(strings.Builder))
		d.stdout, d.stderr = clitest.Full{}, &errOut
		words := append(strings.Fields(line), "--root", golden.Root(t), "--cache", t.TempDir(), "--out", t.TempDir())
		if line == "localnet up --dry-run" {
			words = append(words, "--dir", "x")
		}
		if code := run(words, d); code != cli.ExitError || !strings.Contains(errOut.String(), "no space left") {
			t.Errorf("%s: exit code %d, %s", line, code, errOut.String())
		}
	}
}

// TestWithoutAHomeVerbsNameTheFlag that says where to put things instead.
func TestWithoutAHomeVerbsNameTheFlag(t *testing.T) {
	for line, flag := range map[string]string{
		"receipt ls":      "--receipts",
		"localnet status": "--dir",
		"localnet up":     "--dir",
		"collateral serve --no-intel --listen 127.0.0.1:0":                "--store",
		"gateway run --no-intel --proxy 127.0.0.1:1 --listen 127.0.0.1:0": "--scores",
		"image fetch --offline":                                           "--cache",
		"root show --root-contract 0:" + strings.Repeat("11", 32) + " --global-config " + filepath.Join(golden.Root(t), "go.mod"): "--state-dir",
	} {
		o := runIn("", append(strings.Fields(line), "--root", golden.Root(t))...)
		if o.Code != cli.ExitUsage || verbs.Complaint(o) != nil || !strings.Contains(o.ErrOut, flag) {
			t.Errorf("%s: exit code %d\n%s", line, o.Code, o.ErrOut)
		}
	}
}
