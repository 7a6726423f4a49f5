package router

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pcs"
)

const (
	// maxImages bounds how many images of peers get a series of their own: with a policy that asks for no particular
	// image, peers choose them. maxModels bounds the platform models likewise; Intel has about 50.
	maxImages = 64
	maxModels = 256
	// otherImages is the label of the rest, and noImage that of peers without a quote.
	otherImages = "other"
	noImage     = "none"
)

// WatchJudge adds what a judge counts.
func (m *Metrics) WatchJudge(j *ratls.Judge) {
	m.page(func(w io.Writer) {
		s := j.Stats()
		for _, row := range []struct {
			name  string
			value uint64
		}{
			{`router_verifications_total{result="hit"}`, s.Hits},
			{`router_verifications_total{result="miss"}`, s.Misses},
			{`router_verifications_total{result="busy"}`, s.Busy},
			{`router_freshness_unchecked_total`, s.FreshnessUnchecked},
			{`router_verdict_cache_entries`, uint64(max(s.Entries, 0))},
			{`router_verdict_cache_bytes`, uint64(max(s.Bytes, 0))},
		} {
			_, _ = fmt.Fprintf(w, "%s %d\n", row.name, row.value) // into memory
		}
	})
}

// WatchCertificate adds the seconds that the process's own certificate has left, and an alarm when those are few: it should
// have been replaced long before (attestation.md section 13).
func (m *Metrics) WatchCertificate(expires, now func() time.Time) {
	left := func() time.Duration { return expires().Sub(now()) }
	m.Gauge(`router_certificate_expiry_seconds`, func() float64 { return left().Seconds() })
	m.Gauge(`router_certificate_alarm`, func() float64 {
		if left() < ratls.AlarmLeft {
			return 1
		}
		return 0
	})
}

// Certified counts the certificates that an identity makes: how long quote and check took, and what failed.
func (m *Metrics) Certified() func(took time.Duration, err error) {
	h, failed := m.stage("process", "certificate"), m.Counter(`router_certificate_failures_total`)
	return func(took time.Duration, err error) {
		if h.observe(took); err != nil {
			failed.Inc()
		}
	}
}

// WatchCollateral adds age and expiry of the collateral held, per platform and kind.
func (m *Metrics) WatchCollateral(c *pcs.Cache, now func() time.Time) {
	m.page(func(w io.Writer) {
		at := now()
		for _, s := range c.Status() {
			if s.Held == nil {
				continue
			}
			for _, part := range s.Held.Parts() {
				labels := fmt.Sprintf(`platform=%q,kind=%q`, s.Platform.String(), part.Kind.String())
				_, _ = fmt.Fprintf(w, "router_collateral_age_seconds{%s} %.0f\nrouter_collateral_expiry_seconds{%s} %.0f\n", // into memory
					labels, at.Sub(part.From).Seconds(), labels, part.To.Sub(at).Seconds())
			}
		}
	})
}

// sessionLabels tell live sessions apart.
type sessionLabels struct{ listener, image string }

// watchSessions adds live sessions by listener and image.
func (m *Metrics) watchSessions(list func() []ratls.Session) {
	m.page(func(w io.Writer) {
		counts, images := map[sessionLabels]int{}, map[string]bool{}
		for _, s := range list() { // oldest first: newcomers share a label
			image := noImage
			if !s.Image.IsZero() {
				image = s.Image.String()
			}
			if !images[image] && len(images) >= maxImages {
				image = otherImages
			}
			images[image] = true
			counts[sessionLabels{s.Label, image}]++
		}
		for _, l := range slices.SortedFunc(maps.Keys(counts), func(a, b sessionLabels) int {
			return cmp.Or(cmp.Compare(a.listener, b.listener), cmp.Compare(a.image, b.image))
		}) {
			_, _ = fmt.Fprintf(w, "router_sessions{listener=%q,image=%q} %d\n", l.listener, l.image, counts[l]) // into memory
		}
	})
}

// models is what was last seen of each platform model.
type models struct {
	mu   sync.Mutex
	seen map[dcap.FMSPC]model
}

type model struct {
	status     dcap.Status
	advisories []string
}

func (m *Metrics) watchModels() *models {
	all := &models{seen: map[dcap.FMSPC]model{}}
	m.page(all.write)
	return all
}

// note records an admitted peer's platform.
func (p *models) note(r *dcap.Result) {
	if r == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.seen[r.FMSPC]; known || len(p.seen) < maxModels {
		p.seen[r.FMSPC] = model{r.Combined, r.Advisories}
	}
}

func (p *models) write(w io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range slices.SortedFunc(maps.Keys(p.seen), func(a, b dcap.FMSPC) int { return slices.Compare(a[:], b[:]) }) {
		_, _ = fmt.Fprintf(w, "router_platform_tcb{fmspc=\"%x\",status=%q} 1\n", id[:], p.seen[id].status.String()) // into memory
		for _, a := range p.seen[id].advisories {
			_, _ = fmt.Fprintf(w, "router_platform_advisory{fmspc=\"%x\",advisory=%q} 1\n", id[:], a)
		}
	}
}
