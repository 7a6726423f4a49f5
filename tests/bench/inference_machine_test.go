package bench

import (
	"crypto/ed25519"
	"fmt"
	"math"
	"testing"
)

// there is what a proxy's work took where the bars were set (inference.md section 18.2), in microseconds of processor time;
// zero is not known.
type there struct{ request, paced float64 }

// slowness is how much longer work takes here than where the bars were set: by work of the same kind that was measured in both
// places. Zero is not known.
type slowness struct {
	signatures     float64 // an Ed25519 verification
	request, paced float64 // all proxies that ran beside ours, the geometric mean
}

// slownessHere compares this machine, once every path is measured. Nothing of ours is in it.
func slownessHere(t *testing.T, paths []*path) slowness {
	t.Helper()
	var request, paced []float64
	for _, p := range paths {
		if p.there.request > 0 {
			request = append(request, p.best.request.sum()/p.there.request)
		}
		if p.there.paced > 0 {
			paced = append(paced, p.best.paced.sum()/p.there.paced)
		}
	}
	return slowness{signatureSlowness(t), geometricMean(request), geometricMean(paced)}
}

func (s slowness) String() string {
	known := func(factor float64) string {
		if factor == 0 {
			return "unknown"
		}
		return fmt.Sprintf("%.2f", factor)
	}
	return fmt.Sprintf("time taken here over time taken where the bars were set: Ed25519 %s; the other proxies' requests %s, their paced events %s",
		known(s.signatures), known(s.request), known(s.paced))
}

// elsewhere is what costs that much here on a machine that this one is that many times slower than; zero is unknown.
func elsewhere(here, slower float64) float64 {
	if slower == 0 {
		return 0
	}
	return here / slower
}

// geometricMean of nothing is zero.
func geometricMean(factors []float64) float64 {
	if len(factors) == 0 {
		return 0
	}
	sum := 0.0
	for _, f := range factors {
		sum += math.Log(f)
	}
	return math.Exp(sum / float64(len(factors)))
}

// signatureSlowness is by one Ed25519 verification: 38 us where the bars were set (inference.md section 10.6).
func signatureSlowness(t *testing.T) float64 {
	t.Helper()
	const there = 38.0
	p := newPapers(t)
	p.state()
	message := make([]byte, 2500)
	signature := ed25519.Sign(p.worker, message)
	ok := true
	here := takes(t, func() { ok = ok && ed25519.Verify(p.session.ReceiptKey, message, signature) })
	if !ok {
		t.Fatal("a signature does not hold")
	}
	return here / there
}

// TestTheMachineIsKnownByTheOthers: what was not measured here, or not there, says nothing of the machine.
func TestTheMachineIsKnownByTheOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		factors []float64
		want    float64
	}{
		"none":           {nil, 0},
		"one":            {[]float64{1.5}, 1.5},
		"one is slower":  {[]float64{1, 4}, 2},
		"half and twice": {[]float64{0.5, 2}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := geometricMean(tc.factors); math.Abs(got-tc.want) > 1e-9 {
				t.Errorf("%g, want %g", got, tc.want)
			}
		})
	}
}
