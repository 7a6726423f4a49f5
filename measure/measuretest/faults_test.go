package measuretest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// Every fault has the effect that it announces, whether the verifier or the policy sees it.
func TestFaultsDoWhatTheySay(t *testing.T) {
	for _, f := range measuretest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			if _, err := policyCode(f.Effect); err != nil {
				t.Skip("not a refusal: seen by the tests of clients and of slow services")
			}
			service := measuretest.NewService()
			p := platform(t, func(o *measuretest.Options) { measuretest.Inject(o, service, []measuretest.Fault{f}) })
			service.Add(p)
			q := quote(t, p, measuretest.Spec{Version: 5})
			ev := policy.Evidence{ReportDataOK: true}
			b, err := fetch(t, service, q)
			var c *dcap.Collateral
			if err == nil {
				c, err = dcap.Open(b, p.Roots(), testTime)
			}
			if err == nil {
				ev.Quote, err = dcap.NewVerifier(p.Roots(), 0).Verify(q, c, testTime)
			}
			ev.Err = err
			m := p.Measurements()
			base := measuretest.Baseline{Measurements: m, Root: p.RootID(), EvaluationNumber: measuretest.EvaluationNumber}
			want, _ := policyCode(f.Effect)
			if v := strict(t, base, policy.TDX).Check(ev, policy.Env{Now: testTime}); v.Code != want {
				t.Errorf("code %s, want %s: %v", v.Code, want, v.Err())
			}
		})
	}
}

// policyCode is the first word of an effect, if that is a code.
func policyCode(effect string) (policy.Code, error) {
	word, _, _ := strings.Cut(effect, ",")
	if strings.Contains(word, " ") {
		return "", errors.New("a sentence")
	}
	return policy.Code(word), nil
}

func TestFaultsAreFoundByName(t *testing.T) {
	faults := measuretest.Faults()
	names := map[string]bool{}
	for _, f := range faults {
		if got, err := measuretest.FindFault(f.Name); err != nil || got.Effect != f.Effect || names[f.Name] || strings.ContainsAny(f.Name, " \t") {
			t.Errorf("%s: %v, twice: %t", f.Name, err, names[f.Name])
		}
		names[f.Name] = true
	}
	if !slices.IsSortedFunc(faults, func(a, b measuretest.Fault) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the faults are not sorted")
	}
	if _, err := measuretest.FindFault("debug"); err == nil || !strings.Contains(err.Error(), "debug-td") {
		t.Errorf("got %v", err)
	}
}

func TestSlowAndFailingServices(t *testing.T) {
	with := func(t *testing.T, name string) (*measuretest.Platform, *measuretest.Service) {
		t.Helper()
		f, err := measuretest.FindFault(name)
		if err != nil {
			t.Fatal(err)
		}
		s := measuretest.NewService()
		p := platform(t, func(o *measuretest.Options) { measuretest.Inject(o, s, []measuretest.Fault{f}) })
		s.Add(p)
		return p, s
	}
	synctest.Test(t, func(t *testing.T) {
		p, _ := with(t, "quote-slow")
		start := time.Now()
		if _, err := p.Quote(t.Context(), [tdx.ReportDataSize]byte{}); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Quote(ctx, [tdx.ReportDataSize]byte{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		_, s := with(t, "pcs-slow")
		start = time.Now()
		if a := s.Get(t.Context(), "/IntelSGXRootCA.der", nil); a.Status != 200 || time.Since(start) != 15*time.Second {
			t.Errorf("after %s: status %d", time.Since(start), a.Status)
		}
	})
	p, _ := with(t, "quote-fails")
	if _, err := p.Quote(t.Context(), [tdx.ReportDataSize]byte{}); !errors.Is(err, measuretest.ErrFault) {
		t.Errorf("got %v", err)
	}
	_, s := with(t, "pcs-down")
	if a := s.Get(t.Context(), "/IntelSGXRootCA.der", nil); a.Status != 503 {
		t.Errorf("status %d", a.Status)
	}
}
