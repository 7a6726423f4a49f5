package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cocoon/cmd/internal/cli"
	"cocoon/host/localnet/chainnode"
)

// runNetwork starts a local chain with liteservers in a folder, for the rest of the script: network DIR. $CONTROL is
// its control interface.
func runNetwork(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithCancel(context.Background())
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	node, err := chainnode.New(ctx, chainnode.Config{
		Dir: ts.MkAbs(args[0]), Period: 50 * time.Millisecond, Liteservers: 2, Listen: loopback, Control: loopback, Now: time.Now,
	})
	if err != nil {
		cancel()
		ts.Fatalf("network: %v", err)
	}
	done := make(chan error)
	go func() { done <- node.Run(ctx) }()
	ts.Defer(func() {
		cancel()
		ts.Check(<-done)
		ts.Check(node.Close())
	})
	d, err := node.Describe()
	ts.Check(err)
	ts.Setenv("CONTROL", d.Control)
}

// faucet pays nanoTON to an address in raw form: faucet ADDRESS AMOUNT.
func faucet(ts *testscript.TestScript, _ bool, args []string) {
	control(ts, "faucet", map[string]any{"address": args[0], "amount": args[1]})
	control(ts, "step", map[string]any{"count": 2})
}

func control(ts *testscript.TestScript, verb string, body any) {
	data, err := json.Marshal(body)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, ts.Getenv("CONTROL")+"/v1/"+verb, bytes.NewReader(data))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close() //nolint:errcheck // read side
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("%s: %s: %s", verb, resp.Status, answer)
	}
}

// field sets a variable to a member of the document on stdout: field NAME messages.0.to.address.
func field(ts *testscript.TestScript, _ bool, args []string) {
	var at any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &at))
	for name := range strings.SplitSeq(args[1], ".") {
		switch v := at.(type) {
		case map[string]any:
			at = v[name]
		case []any:
			i, err := strconv.Atoi(name)
			ts.Check(err)
			if i >= len(v) {
				ts.Fatalf("%s: %d entries", args[1], len(v))
			}
			at = v[i]
		default:
			ts.Fatalf("%s: nothing at %s", args[1], name)
		}
	}
	if at == nil {
		ts.Fatalf("%s: absent", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(at))
}

// travel moves the network's time forward, and with it the clock of the command "later": travel 1000s.
func travel(ts *testscript.TestScript, _ bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	control(ts, "time", map[string]any{"travel_seconds": int64(d / time.Second)})
	control(ts, "step", map[string]any{"count": 1})
	if before := ts.Getenv(clockOffset); before != "" {
		sum, err := time.ParseDuration(before)
		ts.Check(err)
		d += sum
	}
	ts.Setenv(clockOffset, d.String())
}

// clockOffset is by how much the command "later" is ahead of the wall clock.
const clockOffset = "CLOCK_OFFSET"

// later is the program on a clock that follows the network's: a client refuses blocks from the future.
func later() {
	offset, err := time.ParseDuration("0s" + os.Getenv(clockOffset))
	if err != nil {
		os.Exit(cli.ExitUsage)
	}
	os.Exit(run(os.Args[1:], deps{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, getwd: os.Getwd, executable: os.Executable,
		now: func() time.Time { return time.Now().Add(offset) },
	}))
}

// TestContractVerbsHaveShortHelp: every verb has two examples of itself, and no line is wider than 100 columns.
func TestContractVerbsHaveShortHelp(t *testing.T) {
	root, _ := newRootCmd(deps{getenv: func(string) string { return "" }})
	nouns := map[string]bool{"root": true, "wallet": true, "client": true, "proxy": true, "worker": true, "workload": true}
	verbs := 0
	for _, noun := range root.Commands() {
		if !nouns[noun.Name()] {
			continue
		}
		delete(nouns, noun.Name())
		for _, verb := range noun.Commands() {
			verbs++
			examples := strings.Split(verb.Example, "\n")
			if len(examples) < 2 {
				t.Errorf("%s has %d examples", verb.CommandPath(), len(examples))
			}
			for _, x := range examples {
				if !strings.HasPrefix(x, "  "+verb.CommandPath()) {
					t.Errorf("%q is no example of %s", x, verb.CommandPath())
				}
			}
			for line := range strings.Lines(verb.Long + "\n" + verb.Short + "\n" + verb.UsageString()) {
				if len(line) > 101 {
					t.Errorf("%s: a line of %d columns: %s", verb.CommandPath(), len(line)-1, line)
				}
			}
		}
	}
	if len(nouns) > 0 || verbs < 30 {
		t.Errorf("missing nouns %v, %d verbs", nouns, verbs)
	}
}
