package boot

import (
	"context"

	"cocoon/guest/config"
	"cocoon/guest/netcfg"
	"cocoon/measure/spec"
)

func runNetwork(ctx context.Context, st *State) error {
	report, err := st.deps.Network(ctx, st.Runtime.Network)
	if err != nil {
		return err
	}
	for key, value := range networkDetail(report) {
		st.Detail(key, value)
	}
	return nil
}

// OpenPort is for the service stage's hook: from outside, nothing reaches a socket of the guest until its port is
// opened here.
func (st *State) OpenPort(port uint16) error {
	if err := st.deps.OpenPort(port); err != nil {
		return err
	}
	st.Detail("port", port)
	return nil
}

func networkDetail(r netcfg.Report) map[string]any {
	d := map[string]any{"mode": r.Mode}
	if r.Mode == config.NoNetwork {
		return d
	}
	d["interface"], d["address"] = r.Interface, r.Address
	if len(r.DNS) > 0 {
		d["dns"] = r.DNS
	}
	return d
}

func runClock(ctx context.Context, st *State) error {
	res, err := st.deps.Clock(ctx, st.Runtime.NTP)
	if err != nil {
		return err
	}
	if res.Server == "" {
		return &SkipError{Reason: "no time server is configured; the clock is not before the image's epoch"}
	}
	st.Detail("server", res.Server)
	st.Detail("offset_ms", res.Offset.Milliseconds())
	st.Detail("stepped", res.Stepped)
	return nil
}

// hook runs a stage that consists of its hook alone.
func hook(stage string, pick func(Hooks) Hook) func(context.Context, *State) error {
	return func(ctx context.Context, st *State) error {
		h := pick(st.deps.Hooks)
		if h == nil {
			return &NotInBuildError{Stage: stage}
		}
		return h(ctx, st)
	}
}

func sealHook(h Hooks) Hook    { return h.Seal }
func storageHook(h Hooks) Hook { return h.Storage }
func serviceHook(h Hooks) Hook { return h.Service }

// runIdentity ends the sequence of RTMR3 before anything is quoted: sealed keys cannot be had afterwards, and every
// certificate says so (attestation.md section 13).
func runIdentity(ctx context.Context, st *State) error {
	if _, err := st.Extend(spec.InitedMessage); err != nil {
		return err
	}
	return hook(StageIdentity, func(h Hooks) Hook { return h.Identity })(ctx, st)
}

// runReady publishes readiness; it is the last thing a boot does.
func runReady(_ context.Context, st *State) error {
	value, err := st.Registers.Value()
	if err != nil {
		return err
	}
	st.Detail("rtmr3", value.String())
	st.detailImitation()
	st.SetReady(true)
	return nil
}
