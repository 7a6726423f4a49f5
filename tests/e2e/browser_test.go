package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cocoon/tests/inputs"
	"cocoon/tests/logbook"
)

// browser is a headless Chromium that is spoken to over pipes.
type browser struct {
	t       *testing.T
	to      io.Writer
	from    *bufio.Reader
	id      int
	session string
	// complaints are what the page's console says of errors, refused styles and scripts among them.
	complaints []string
}

// newBrowser starts one, and ends it with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	name, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium on this machine")
	}
	hear, to, err := os.Pipe()
	check(t, err)
	from, say, err := os.Pipe()
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{hear, say}
	check(t, cmd.Start())
	check(t, errors.Join(hear.Close(), say.Close()))
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
		_, _ = to.Close(), from.Close()
	})
	b := &browser{t: t, to: to, from: bufio.NewReader(from)}
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page.enable", "Runtime.enable", "Log.enable"} {
		b.call(domain, nil, nil)
	}
	return b
}

// message is one of the browser's.
type message struct {
	ID     int
	Method string
	Result json.RawMessage
	Error  *struct{ Message string }
	Params struct {
		Entry            struct{ Level, Text string }
		ExceptionDetails struct{ Text string }
	}
}

// call asks the browser for something and notes what else it says meanwhile.
func (b *browser) call(method string, params map[string]any, into any) {
	b.t.Helper()
	b.id++
	raw, err := json.Marshal(map[string]any{"id": b.id, "method": method, "params": params, "sessionId": b.session})
	check(b.t, err)
	if b.session == "" {
		raw = []byte(strings.Replace(string(raw), `,"sessionId":""`, "", 1))
	}
	_, err = b.to.Write(append(raw, 0))
	check(b.t, err)
	for {
		raw, err := b.from.ReadBytes(0)
		check(b.t, err)
		var m message
		check(b.t, json.Unmarshal(raw[:len(raw)-1], &m))
		switch {
		case m.Method == "Log.entryAdded" && m.Params.Entry.Level == "error":
			b.complaints = append(b.complaints, m.Params.Entry.Text)
		case m.Method == "Runtime.exceptionThrown":
			b.complaints = append(b.complaints, m.Params.ExceptionDetails.Text)
		case m.ID == b.id && m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		case m.ID == b.id:
			if into != nil {
				check(b.t, json.Unmarshal(m.Result, into))
			}
			return
		}
	}
}

// ask evaluates an expression in the page, which works although the page's own scripts are off.
func (b *browser) ask(expression string) string {
	b.t.Helper()
	var out struct{ Result struct{ Value any } }
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &out)
	return fmt.Sprint(out.Result.Value)
}

func (b *browser) until(what, expression string) {
	b.t.Helper()
	(&caller{t: b.t, log: new(logbook.Book)}).within(patience, what, func() bool { return b.ask(expression) == "true" })
}

// look is one way to look at a page.
type look struct {
	width   int
	theme   string
	scripts bool
}

func (b *browser) open(url string, as look) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": as.width, "height": 900, "deviceScaleFactor": 1, "mobile": as.width < 600}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": as.theme}}}, nil)
	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": !as.scripts}, nil)
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.until(url+" is there", fmt.Sprintf("location.href === %q && document.readyState === 'complete'", url))
}

// outside lists what reaches over the window's edge: tables may be wide in a box of their own.
const outside = `[document.documentElement.scrollWidth > innerWidth ? 'the page' : '',
	...[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.rows')).map(e => e.tagName + '.' + e.className)].filter(Boolean).join(' ')`

// TestThePagesInABrowser: the three roles' pages fit wide and narrow windows in both themes, say the same without
// scripts, load nothing that their policy forbids, renew themselves, and say so when they cannot.
func TestThePagesInABrowser(t *testing.T) {
	if !inputs.Wants("web") {
		t.Skip("needs chromium: set COCOON_TEST=web")
	}
	b := newBrowser(t)
	n, log := localnet(t, pinned{})
	running, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(running) }()
	about := n.Description()
	app := &caller{t: t, url: about.URL, log: log, client: &http.Client{Transport: &http.Transport{}}}
	if r := app.do(http.MethodPost, chatPath, `{"model":"`+about.Model+`","messages":[{"role":"user","content":"`+canary+`"}]}`); r.status != http.StatusOK {
		t.Fatalf("status %d, %s", r.status, r.body)
	}
	app.client.CloseIdleConnections()
	pages := map[string]string{"gateway": about.Page}
	for _, role := range about.Roles {
		pages[role.Name] = role.Page
	}
	if len(pages) != 3 {
		t.Errorf("pages %v", pages)
	}
	for name, url := range pages {
		t.Run(name, func(t *testing.T) { b.examine(t, url) })
	}
	b.open(about.Page, look{1280, "light", true})
	made := b.ask("document.querySelector('header p').textContent")
	b.until("the page renews itself", fmt.Sprintf("document.querySelector('header p').textContent !== %q", made))
	b.ask("window.same = true") // renewing is no loading
	interrupt()
	check(t, <-ended)
	b.until("the page says that it is old", "window.same && document.body.classList.contains('stale') && getComputedStyle(document.querySelector('.lost')).display === 'block'")
	silent(t, about.Dir, log)
}

// examine looks at one page in every way.
func (b *browser) examine(t *testing.T, url string) {
	t.Helper()
	const words = "[...document.querySelectorAll('h1, h2, h3, th, dt')].map(e => e.textContent).join('|')"
	b.complaints = nil
	colours, said := make(map[string]bool), ""
	for _, as := range []look{{1280, "light", true}, {1280, "dark", false}, {390, "light", false}, {390, "dark", true}} {
		b.open(url+"?span=10m", as)
		if out := b.ask(outside); out != "" {
			t.Errorf("%+v: over the edge are %s", as, out)
		}
		colours[b.ask("getComputedStyle(document.body).backgroundColor")] = true
		if got := b.ask(words); said == "" {
			said = got
		} else if got != said {
			t.Errorf("%+v says %s, not %s", as, got, said)
		}
		if body := strings.ToLower(b.ask("document.documentElement.outerHTML")); mentions(body) || len(body) > 60_000 {
			t.Errorf("the page has %d bytes, or a prompt", len(body))
		}
	}
	if len(colours) != 2 {
		t.Errorf("the themes have the colours %v", colours)
	}
	if len(b.complaints) > 0 {
		t.Errorf("the browser complains: %q", b.complaints)
	}
}
