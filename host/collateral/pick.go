package collateral

import (
	"context"
	"errors"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/tdx"
)

// pick finds the bundle whose part of a kind is the youngest among the valid bundles that fit; if there is none, it gets
// the one of the first wanted platform that a source knows. Taking the youngest keeps a guest that asks for parts one by one from going back in time.
func (r *Relay) pick(ctx context.Context, kind dcap.Kind, want []dcap.Platform, fits func(dcap.Platform) bool) (*dcap.Bundle, error) {
	var best *dcap.Bundle
	var issued time.Time
	now := r.cfg.Now()
	for _, s := range r.cfg.Cache.Status() {
		if s.Held == nil || now.After(s.Held.Expires()) || !fits(s.Platform) {
			continue
		}
		for _, part := range s.Held.Parts() {
			if part.Kind == kind && (best == nil || part.From.After(issued)) {
				best, issued = s.Bundle, part.From
			}
		}
	}
	if best != nil {
		return best, nil
	}
	var unknown []error
	for _, p := range want {
		b, err := r.cfg.Cache.Bundle(ctx, p)
		if err == nil || !errors.Is(err, pcs.ErrNotFound) {
			return b, err
		}
		unknown = append(unknown, err)
	}
	return nil, errors.Join(unknown...)
}

// under lists a platform under the CAs that may have certified it, the likely one first. TDX platforms have several
// packages at least in principle, so the Platform CA certifies them all.
func under(tee tdx.TEEType, fmspc dcap.FMSPC) []dcap.Platform {
	out := []dcap.Platform{{TEE: tee, FMSPC: fmspc, CA: dcap.PlatformCA}}
	if tee == tdx.SGX {
		out = append(out, dcap.Platform{TEE: tee, FMSPC: fmspc, CA: dcap.ProcessorCA})
	}
	return out
}

// seed is an FMSPC that the sources know: one that is held, of the CA if possible, else the configured one.
func (r *Relay) seed(ca dcap.CA) dcap.FMSPC {
	found, exact := r.cfg.Seed, false
	for _, s := range r.cfg.Cache.Status() {
		if s.Held != nil && !exact {
			found, exact = s.Platform.FMSPC, s.Platform.CA == ca
		}
	}
	return found
}
