package ratls

import (
	"context"
	"sync/atomic"
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
)

// fetching is a CollateralHolder: it says when it would have to fetch.
type fetching struct {
	*library
	holds atomic.Bool
}

func (f *fetching) Holds(dcap.Platform) bool { return f.holds.Load() }

// Whoever can connect can name platforms; only quotes that platforms signed send a source out for them.
func TestForgersSendNoSourceOut(t *testing.T) {
	w := newWorld(t)
	source := &fetching{library: w.library}
	judge, err := NewJudge(JudgeConfig{Verifier: dcap.NewVerifier(w.platform.Roots(), 16), Collateral: source, Now: w.clock.time})
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{8}, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	quoted := func(edit func([]byte), p *measuretest.Platform) quoterFunc {
		return func(ctx context.Context, data [64]byte) ([]byte, error) {
			q, err := p.Quote(ctx, data)
			if err == nil {
				edit(q)
			}
			return q, err
		}
	}
	nothing := func([]byte) {}
	for name, tc := range map[string]struct {
		quoter quoterFunc
		held   bool
		want   policy.Code
		asked  int64
	}{
		"forger's own root":       {quoted(nothing, stranger), false, policy.Root, 0},
		"genuine quote, altered":  {quoted(func(q []byte) { q[200] ^= 1 }, w.platform), false, "quote_sig", 0},
		"genuine quote":           {quoted(nothing, w.platform), false, policy.OK, 1},
		"forger's, nothing to do": {quoted(nothing, stranger), true, policy.Root, 1},
	} {
		source.holds.Store(tc.held)
		source.asked.Store(0)
		leaf := w.leaf(func(c *IdentityConfig) { c.Quoter, c.Terms = tc.quoter, Fixed(anybody()) })
		source.asked.Store(0) // making the certificate has asked too
		_, err := judge.Judge(t.Context(), leaf, cert.Server, w.terms())
		if got := CodeOf(err); got != tc.want || source.asked.Load() != tc.asked {
			t.Errorf("%s: %s with %d questions, want %s with %d: %v", name, got, source.asked.Load(), tc.want, tc.asked, err)
		}
	}
}
