package policy_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// counted is a chain whose list is asked for.
type counted struct {
	images

	asked int
}

func (c *counted) Allowed() ([]tdx.Hash, time.Time, error) {
	c.asked++
	return c.images.Allowed()
}

// manyImages is a list with an image at its end.
func manyImages(n int, last tdx.Hash) []tdx.Hash {
	list := make([]tdx.Hash, n)
	for i := range list {
		binary.BigEndian.PutUint64(list[i][:], uint64(i+1))
	}
	list[n-1] = last
	return list
}

// TestTheListIsAskedForOnce: a list may change between two questions, so that a check asks one, and policies with
// another source none.
func TestTheListIsAskedForOnce(t *testing.T) {
	mine := tdx.ImageHash(&td().Measurements)
	for name, tc := range map[string]struct {
		change func(*peer)
		want   int
	}{
		"chain": {chain(images{}), 1},
		"list":  {func(*peer) {}, 0},
		"defer": {func(p *peer) { p.rules.AllowedImages, p.rules.ImageSource = nil, policy.Deferred }, 0},
	} {
		p := newPeer(policy.TDX)
		tc.change(p)
		source := &counted{images: images{hashes: manyImages(1000, mine)}}
		p.env.Images = source
		if v := p.check(t); !v.OK || source.asked != tc.want {
			t.Errorf("%s: asked %d times, want %d (%v)", name, source.asked, tc.want, v.Err())
		}
	}
}

// TestVerdictsNameTheListTheyUsed: the time of the list is in the verdict and in the finding.
func TestVerdictsNameTheListTheyUsed(t *testing.T) {
	p := newPeer(policy.TDX)
	if v := p.check(t); !v.ImagesAt.IsZero() || v.Document().ImagesAt != "" {
		t.Errorf("a list of %s was used", v.ImagesAt)
	}
	chain(images{hashes: manyImages(3, tdx.ImageHash(&td().Measurements))})(p)
	v := p.check(t)
	if !v.ImagesAt.Equal(now.Add(-time.Minute)) || v.Document().ImagesAt != "2026-11-21T11:59:00Z" {
		t.Errorf("list of %s", v.ImagesAt)
	}
	if last := v.Findings[len(v.Findings)-1]; last.Rule != "image_source" || last.Got != "3 images at 2026-11-21T11:59:00Z" {
		t.Errorf("finding %+v", last)
	}
}

// processorTime is what this process has used, which other processes of a busy machine do not add to.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCheck is the price of judging a verified quote again; the target is 5 us of processor time.
func BenchmarkCheck(b *testing.B) {
	mine := tdx.ImageHash(&td().Measurements)
	for name, tc := range map[string]struct {
		change func(*peer)
		code   policy.Code
	}{
		"accepted":       {func(*peer) {}, policy.OK},
		"chain-of-100":   {chain(images{hashes: manyImages(100, mine)}), policy.OK},
		"v1":             {func(p *peer) { p.ev.Claims = nil }, policy.OK},
		"refused-debug":  {func(p *peer) { p.ev.Quote.Quote.TD.TDAttributes[0] = 1 }, policy.TDDebug},
		"refused-no-tdx": {func(p *peer) { p.ev.Quote, p.ev.Err = nil, errors.New("no TDX") }, policy.Chain},
	} {
		b.Run(name, func(b *testing.B) {
			p := newPeer(policy.TDX)
			tc.change(p)
			made, err := policy.New(p.rules)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			start := processorTime(b)
			for b.Loop() {
				if v := made.Check(p.ev, p.env); v.Code != tc.code {
					b.Fatal(v.Err())
				}
			}
			b.ReportMetric(float64(processorTime(b)-start)/float64(b.N), "cpu-ns/op")
		})
	}
}
