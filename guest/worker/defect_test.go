package worker

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/wire/session"
)

// TestADefectCostsOneQuery: a panic on the way of a request, on its own goroutine or in a timer of its stream, ends that
// request with an error message that the proxy can tell from an engine's; nothing of what panicked is told, and the worker
// serves on.
func TestADefectCostsOneQuery(t *testing.T) {
	for name, in := range map[string]string{
		"the ping's timer":    ".(*relay).sign",
		"the silence's timer": ".(*relay).silent",
		"the request itself":  ".(*relay).pump",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t, func(c *Config, d *Deps) {
				c.Times.Ping, c.Times.Gap = patience, patience
				if strings.HasSuffix(in, "sign") {
					c.Times.Ping = 10 * time.Millisecond
				} else {
					c.Times.Gap = 10 * time.Millisecond
				}
				d.Now = func() time.Time {
					if calledFrom(in) {
						panic(canary) //nolint:forbidigo // what is tested
					}
					return time.Now()
				}
			})
			p := k.connect(versionOurs)
			a := p.run(1, call{body: chat(true, "fault:hang-body")})
			if a.code != int32(session.CodeFailure) || a.text != "internal error" || a.statement.Status != 4 {
				t.Errorf("%d %s, status %d, %s", a.code, a.text, a.statement.Status, a.body)
			}
			if a := p.run(2, call{body: chat(false, "x")}); a.code != 0 || a.statement.Status != 0 {
				t.Errorf("the next one: %d %s", a.code, a.text)
			}
			if n := strings.Count(k.log.String(), "Query panicked"); n != 1 {
				t.Errorf("told %d times:\n%s", n, k.log)
			}
			k.until("the engine's slot is free", func() bool { return k.engine.Active.Load() == 0 })
		})
	}
}

// calledFrom says whether a function is on the stack.
func calledFrom(function string) bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, function) {
			return true
		}
		if !more {
			return false
		}
	}
}
