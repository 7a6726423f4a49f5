package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
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

// answered is how a command did.
type answered struct {
	code        int
	out, errOut string
}

// runIn runs a command line for a user whose folders are below home, and who has no terminal.
func runIn(home string, words ...string) answered {
	var out, errOut strings.Builder
	d := testDeps(&out, &errOut)
	d.getenv = func(name string) string { return map[string]string{"HOME": home}[name] }
	code := run(words, d)
	return answered{code, out.String(), errOut.String()}
}

// complaint says what is wrong with how a command complained, if it did not do so as every command must.
func (o answered) complaint() error {
	switch {
	case !slices.Contains([]int{cli.ExitError, cli.ExitUsage, cli.ExitDifference, cli.ExitPrerequisite}, o.code):
		return fmt.Errorf("exit code %d", o.code)
	case !strings.HasPrefix(o.errOut, "cocoon: error: "):
		return errors.New("no error on stderr")
	case strings.Count(o.errOut, "cocoon: error: ") != 1:
		return errors.New("more than one error on stderr")
	case strings.Contains(o.errOut, "goroutine "):
		return errors.New("a stack on stderr")
	case strings.Count(o.errOut, "cocoon: hint: ") > 2:
		return errors.New("more than two hints")
	}
	return nil
}

// TestEveryVerbRefusesWrongWords: a wrong flag, a word too many, a time that is none. The text says what to do next, and who
// asked for documents gets one.
func TestEveryVerbRefusesWrongWords(t *testing.T) {
	verbs := 0
	eachVerb(func(words []string, cmd *cobra.Command) {
		verbs++
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
			o := runIn(t.TempDir(), append(slices.Clone(words), more...)...)
			if o.code != cli.ExitUsage || o.complaint() != nil || o.out != "" {
				t.Errorf("%s, wrong %s: exit code %d, %v, stdout %q\n%s", cmd.CommandPath(), name, o.code, o.complaint(), o.out, o.errOut)
			}
			if name == "empty format" {
				continue
			}
			o = runIn(t.TempDir(), slices.Concat(words, more, []string{"-o", "json"})...)
			if err := validate(cli.ErrorSchema, o.out); err != nil {
				t.Errorf("%s, wrong %s, as JSON: %v\n%s", cmd.CommandPath(), name, err, o.out)
			}
		}
	})
	if verbs < 50 {
		t.Errorf("%d verbs were tried", verbs)
	}
}

// TestEveryVerbHasHelp with a sentence, an example that begins with the verb, and no line over 100 columns.
func TestEveryVerbHasHelp(t *testing.T) {
	eachVerb(func(words []string, cmd *cobra.Command) {
		o := runIn(t.TempDir(), append(slices.Clone(words), "--help")...)
		if o.code != 0 || o.errOut != "" || cmd.Short == "" || !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s: exit code %d, %q, example %q", cmd.CommandPath(), o.code, o.errOut, cmd.Example)
		}
		for line := range strings.Lines(o.out) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 100 {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), n, line)
			}
		}
	})
}

// wrongInputs are what stands where a file should be.
func wrongInputs(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	out := map[string]string{"missing": filepath.Join(dir, "missing"), "folder": filepath.Join(dir, "folder"), "endless": "/dev/zero"}
	if err := os.Mkdir(out["folder"], 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "binary": "\x8b\x00\xff\x1f", "truncated": `{"a":`, "list": "[]", "null": "null", "unknown": `{"nosuchkey":1}`, "deep": strings.Repeat("[", 100_000), "spaces": " \n",
	} {
		out[name] = filepath.Join(dir, name)
		if err := os.WriteFile(out[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestWrongFilesAreRefused wherever a command reads one: by name, with the exit code of the table, in bounded memory, and
// before anything is written. FILE stands for the file; wrong is the exit code of files that say something else.
func TestWrongFilesAreRefused(t *testing.T) {
	t.Parallel()
	const address = "0:1111111111111111111111111111111111111111111111111111111111111111"
	proxied := "gateway run --no-intel --proxy 127.0.0.1:1 --listen 127.0.0.1:0 "
	onChain := "--root-contract " + address + " --network localnet --global-config "
	for name, tc := range map[string]struct {
		line  string
		wrong int
		// any lists inputs that mean something here.
		any []string
	}{
		"image inspect":                  {"image inspect FILE", cli.ExitError, nil},
		"image diff":                     {"image diff FILE FILE", cli.ExitError, nil},
		"image verify":                   {"image verify FILE", cli.ExitError, nil},
		"image lock wheels":              {"image lock wheels FILE", cli.ExitError, nil},
		"collateral fetch --quote":       {"collateral fetch --no-intel --quote FILE", cli.ExitError, nil},
		"collateral fetch --bundle":      {"collateral fetch --no-intel --fmspc 00a06d080000 --bundle FILE", cli.ExitError, []string{"folder"}},
		"collateral fetch --trust-root":  {"collateral fetch --no-intel --fmspc 00a06d080000 --trust-root FILE", cli.ExitUsage, nil},
		"collateral show":                {"collateral show FILE", cli.ExitDifference, []string{"folder"}},
		"gateway run --config":           {proxied + "--config FILE", cli.ExitUsage, nil},
		"gateway run --secret-file":      {proxied + "--secret-file FILE", cli.ExitUsage, []string{"binary", "truncated", "list", "null", "unknown", "deep"}},
		"gateway run --admin-token-file": {proxied + "--admin-token-file FILE", cli.ExitUsage, []string{"binary", "truncated", "list", "null", "unknown", "deep"}},
		"gateway run --keys":             {proxied + "--keys FILE", cli.ExitUsage, nil},
		"gateway run --policy":           {proxied + "--policy FILE", cli.ExitUsage, nil},
		"gateway run --worker-policy":    {proxied + "--worker-policy FILE", cli.ExitUsage, nil},
		"gateway run --budgets":          {proxied + "--budgets FILE", cli.ExitError, []string{"missing", "folder"}},
		"gateway check --collateral":     {"gateway check --no-intel --proxy 127.0.0.1:1 --collateral FILE", cli.ExitError, []string{"folder"}},
		"gateway run --global-config":    {"gateway run --no-intel --test-network --listen 127.0.0.1:0 " + onChain + "FILE", cli.ExitUsage, nil},
		"root show":                      {"root show " + onChain + "FILE", cli.ExitUsage, nil},
		"root publish":                   {"root publish FILE " + onChain + "FILE", cli.ExitUsage, nil},
		"client topup --sign-with":       {"client topup " + address + " --amount 1 --sign-with FILE --global-config FILE", cli.ExitUsage, nil},
		"receipt verify": {
			"receipt verify FILE --attestation FILE --session FILE --request FILE --response FILE --price-per-token 20 --no-intel --client-contract " + address + " --proxy-contract " + address,
			cli.ExitDifference,
			[]string{"deep"}, // more than a receipt may have
		},
		"peer inspect --policy":         {"peer inspect 127.0.0.1:1 --no-intel --policy FILE", cli.ExitUsage, nil},
		"localnet up --guest":           {"localnet up --listen 127.0.0.1:0 --guest FILE", cli.ExitUsage, nil},
		"localnet up --model":           {"localnet up --listen 127.0.0.1:0 --guest FILE --model FILE", cli.ExitUsage, nil},
		"localnet simtdx --prediction":  {"localnet simtdx --seed " + strings.Repeat("11", 32) + " --guest tcp:127.0.0.1:0 --prediction FILE", cli.ExitUsage, nil},
		"localnet up --chat-template":   {"localnet up --listen 127.0.0.1:0 --engine llama-server --guest FILE --chat-template FILE", cli.ExitUsage, nil},
		"localnet run --guest":          {"localnet run --listen 127.0.0.1:0 --guest FILE true", cli.ExitUsage, nil},
		"localnet up --detach, --guest": {"localnet up --detach --listen 127.0.0.1:0 --guest FILE", cli.ExitUsage, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for kind, file := range wrongInputs(t) {
				if slices.Contains(tc.any, kind) {
					continue
				}
				home := t.TempDir()
				words := []string{"--root", golden.Root(t), "--cache", filepath.Join(home, "cache"), "--out", filepath.Join(home, "out"), "--quiet", "--timeout", "10s"}
				for word := range strings.FieldsSeq(tc.line) {
					if word == "FILE" {
						word = file
					}
					words = append(words, word)
				}
				want := tc.wrong
				if kind == "missing" || kind == "folder" {
					want = cli.ExitUsage
				}
				o := runIn(home, words...)
				if err := o.complaint(); err != nil || kind != "endless" && o.code != want || o.code == 0 {
					t.Errorf("%s: exit code %d, want %d; %v\n%s", kind, o.code, want, err, o.errOut)
				}
				if !strings.Contains(o.errOut+o.out, file) && name != "receipt verify" {
					t.Errorf("%s: the file is not named\n%s", kind, o.errOut)
				}
				if !strings.Contains(o.errOut, "cocoon: hint: ") && (kind == "missing" || kind == "folder") {
					t.Errorf("%s: no hint\n%s", kind, o.errOut)
				}
			}
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
		if err := o.complaint(); err != nil || !strings.Contains(o.errOut, file) || o.out != "" {
			t.Errorf("%s: %v, exit code %d, stdout %q\n%s", name, err, o.code, o.out, o.errOut)
		}
	}
}

// full is a stdout that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestResultsThatCannotBeWrittenAreErrors of every verb that only prints.
func TestResultsThatCannotBeWrittenAreErrors(t *testing.T) {
	for _, line := range []string{"version", "version -o json", "image ls", "image ls -o jsonl", "localnet up --dry-run", "image lock check"} {
		var errOut bytes.Buffer
		d := testDeps(new(strings.Builder), new(strings.Builder))
		d.stdout, d.stderr = full{}, &errOut
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
		if o.code != cli.ExitUsage || o.complaint() != nil || !strings.Contains(o.errOut, flag) {
			t.Errorf("%s: exit code %d\n%s", line, o.code, o.errOut)
		}
	}
}
