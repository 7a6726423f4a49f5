package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// valid is a configuration that could be started.
func valid(t *testing.T) Config {
	t.Helper()
	guest := filepath.Join(t.TempDir(), "init")
	if err := os.WriteFile(guest, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	return Config{Dir: t.TempDir(), Guest: guest, Listen: "127.0.0.1:0", Seed: [32]byte{1}, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
}

// TestConfigurationsThatCannotWorkAreRefused by the name of what is wrong.
func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	good := valid(t)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no folder":             {func(c *Config) { c.Dir = "" }, "dir:"},
		"no guest binary":       {func(c *Config) { c.Guest = "none" }, "guest:"},
		"the guest is a folder": {func(c *Config) { c.Guest = c.Dir }, "guest:"},
		"a guest to read only":  {func(c *Config) { c.Guest = plain }, "may not be executed"},
		"no guest":              {func(c *Config) { c.Guest = "" }, "guest: none is given"},
		"seventeen workers":     {func(c *Config) { c.Workers = maxRoles + 1 }, "workers: 17 is not in 1..16"},
		"a public address":      {func(c *Config) { c.Listen = "0.0.0.0:1" }, "listen:"},
		"no address":            {func(c *Config) { c.Listen = "here" }, "listen:"},
		"everybody's seed":      {func(c *Config) { c.Seed = [32]byte{} }, "seed:"},
		"a model, no engine":    {func(c *Config) { c.Model = c.Guest }, "engine, model:"},
		"no such model":         {func(c *Config) { c.Model, c.Engine = "none", c.Dir }, "model:"},
		"an empty engine":       {func(c *Config) { c.Model, c.Engine = c.Guest, c.Dir }, serverPath},
		"a template, no model":  {func(c *Config) { c.Template = c.Guest }, "template:"},
		"no clock":              {func(c *Config) { c.Now = nil }, "now"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			tc.change(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
			if _, err := Start(t.Context(), c); err == nil {
				t.Error("it was started")
			}
		})
	}
}

// TestANetworkWhoseGuestDiesSaysWhy: the end of the role's log is in the error, and nothing is left running.
func TestANetworkWhoseGuestDiesSaysWhy(t *testing.T) {
	c := valid(t)
	script := "#!/bin/sh\necho no such luck >&2\nexit 3\n"
	if err := errors.Join(os.WriteFile(c.Guest, []byte(script), 0o600), os.Chmod(c.Guest, 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "no such luck") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"proxy.json", "proxy-router.json", "worker.json", "worker-router.json"} {
		data, err := os.ReadFile(filepath.Join(c.Dir, name))
		if err != nil || !json.Valid(data) {
			t.Errorf("%s: %v, %q", name, err, data)
		}
	}
}

// TestPartsEndInTheReverseOfTheirBeginning, so that nothing loses what it needs.
func TestPartsEndInTheReverseOfTheirBeginning(t *testing.T) {
	p := newParts()
	var mu sync.Mutex
	var order []string
	failure := errors.New("late")
	for _, name := range []string{"one", "two", "three"} {
		p.start(t.Context(), name, func(ctx context.Context) error {
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			if name == "two" {
				return failure
			}
			return nil
		})
	}
	if err := p.stop(); !errors.Is(err, failure) || !strings.Contains(err.Error(), "running two") {
		t.Errorf("%v", err)
	}
	if !slices.Equal(order, []string{"three", "two", "one"}) {
		t.Errorf("order %v", order)
	}
	p.start(t.Context(), "short", func(context.Context) error { return nil })
	if err := p.wait(t.Context()); err == nil || !strings.Contains(err.Error(), "short") {
		t.Errorf("%v", err)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

// TestAChildEndsWhenItIsTold and its output is kept.
func TestAChildEndsWhenItIsTold(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- child(ctx, log, exec.Command("sh", "-c", "echo begun; trap 'echo told; exit 1' TERM; while :; do sleep 0.05; done"))
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); tail(log) != "begun"; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the child does not begin")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := tail(log); got != "begun\ntold" {
		t.Errorf("log %q", got)
	}
	long := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(long, []byte(strings.Repeat("a line of a log\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tail(long); len(got) > logTail || !strings.HasPrefix(got, "a line") || !strings.HasSuffix(got, "log") {
		t.Errorf("tail %q", got)
	}
}

// TestTheScriptedEngineSpeaksTheAPI in both shapes, and counts what it says.
func TestTheScriptedEngineSpeaksTheAPI(t *testing.T) {
	server := httptest.NewServer(scriptedEngine())
	defer server.Close()
	all := script()
	for name, tc := range map[string]struct {
		path, body, want string
		status, tokens   int
		finish           string
	}{
		"chat":              {"/v1/chat/completions", `{}`, strings.Join(all, ""), 200, len(all), "stop"},
		"chat, cut":         {"/v1/chat/completions", `{"max_tokens":2}`, all[0] + all[1], 200, 2, "length"},
		"chat, stream":      {"/v1/chat/completions", `{"stream":true,"max_tokens":3}`, all[0] + all[1] + all[2], 200, 3, "length"},
		"completion":        {"/v1/completions", `{"max_tokens":1}`, all[0], 200, 1, "length"},
		"completion stream": {"/v1/completions", `{"stream":true,"max_tokens":1}`, all[0], 200, 1, "length"},
		"no JSON":           {"/v1/completions", `{`, "", 400, 0, ""},
		"embeddings":        {"/v1/embeddings", `{}`, "", 501, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close() //nolint:errcheck // read side
			data, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tc.status {
				t.Fatalf("status %d, %v", resp.StatusCode, err)
			}
			if tc.status != http.StatusOK {
				return
			}
			text, finish, used := collect(t, data)
			if text != tc.want || finish != tc.finish || used != (counts{promptTokens, tc.tokens, promptTokens + tc.tokens}) {
				t.Errorf("%q, %q, %+v", text, finish, used)
			}
		})
	}
}

// collect reads a document, or a stream of them.
func collect(t *testing.T, data []byte) (text, finish string, used counts) {
	t.Helper()
	docs := [][]byte{data}
	if body, ok := bytes.CutPrefix(data, []byte("data: ")); ok {
		body, ok = bytes.CutSuffix(body, []byte("\n\ndata: [DONE]\n\n"))
		if !ok {
			t.Fatalf("the stream's end is missing: %q", data)
		}
		docs = bytes.Split(body, []byte("\n\ndata: "))
	}
	for _, raw := range docs {
		var d document
		if err := json.Unmarshal(raw, &d); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if d.Usage != nil {
			used = *d.Usage
		}
		for _, c := range d.Choices {
			switch {
			case c.Message != nil:
				text += c.Message.Content
			case c.Delta != nil:
				text += c.Delta.Content
			case c.Text != nil:
				text += *c.Text
			}
			if c.Finish != nil {
				finish = *c.Finish
			}
		}
	}
	return text, finish, used
}
