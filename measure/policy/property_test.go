package policy_test

import (
	"testing"

	"pgregory.net/rapid"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// The small worlds that random evidence and random lists are drawn from: collisions must be common.
var (
	someDigest = rapid.Map(rapid.IntRange(1, 4), func(i int) tdx.Digest { return digest(byte(i)) })
	someID     = rapid.Map(rapid.IntRange(1, 4), func(i int) [16]byte { return [16]byte{byte(i)} })
	someFMSPC  = rapid.Map(rapid.IntRange(1, 4), func(i int) [6]byte { return [6]byte{byte(i)} })
	someBit    = rapid.Map(rapid.IntRange(8, 63), func(i int) uint64 { return 1 << i })
	someStatus = rapid.SampledFrom([]dcap.Status{
		dcap.UpToDate, dcap.SWHardeningNeeded, dcap.ConfigurationNeeded, dcap.ConfigurationAndSWHardeningNeeded, dcap.OutOfDate,
		dcap.OutOfDateConfigurationNeeded,
	})
	someAdvisory = rapid.SampledFrom([]string{"INTEL-SA-1", "INTEL-SA-2", "INTEL-SA-3"})
)

// listing draws a list with one to three entries, that holds own nine times out of ten.
func listing[T any](t *rapid.T, name string, own T, others *rapid.Generator[T]) []T {
	list := rapid.SliceOfN(others, 1, 2).Draw(t, name)
	if rapid.IntRange(0, 9).Draw(t, "not own "+name) < 9 {
		list = append(list, own)
	}
	return list
}

// drawPeer is a peer that differs from an accepted one in few ways, under a policy with some lists.
func drawPeer(t *rapid.T) *peer {
	p := newPeer(policy.TDX)
	q, b := p.ev.Quote, p.ev.Quote.Quote.TD
	b.MRTD, b.MRSEAM, b.Service.MRServiceTD = someDigest.Draw(t, "mrtd"), someDigest.Draw(t, "mrseam"), someDigest.Draw(t, "service")
	q.PPID, q.PIID, q.FMSPC = someID.Draw(t, "ppid"), someID.Draw(t, "piid"), someFMSPC.Draw(t, "fmspc")
	q.Combined = someStatus.Draw(t, "status")
	q.Advisories = rapid.SliceOfN(someAdvisory, 0, 1).Draw(t, "advisories")
	r := &p.rules
	r.AllowedMRTD = listing(t, "allowed_mrtd", b.MRTD, someDigest)
	r.MRSEAM = listing(t, "mr_seam", b.MRSEAM, someDigest)
	r.MRServiceTD = listing(t, "mr_service_td", b.Service.MRServiceTD, someDigest)
	r.PPID.Allow = listing(t, "ppid.allow", q.PPID, someID)
	r.FMSPC.Allow = listing(t, "fmspc.allow", [6]byte(q.FMSPC), someFMSPC)
	r.PIID.Deny = rapid.SliceOfN(someID, 0, 1).Draw(t, "piid.deny")
	r.TCB.Accepted = listing(t, "tcb.accepted", q.Combined, someStatus)
	r.TCB.Advisories = append(rapid.SliceOfN(someAdvisory, 0, 2).Draw(t, "tcb.advisories"), q.Advisories...)
	r.TDAttributes.MayOne |= someBit.Draw(t, "may")
	r.AllowedImages = listing(t, "allowed_image_hashes", tdx.ImageHash(&b.Measurements), rapid.Just(tdx.Hash{1}))
	return p
}

// widen grows the lists of rules in one way.
func widen(t *rapid.T, r *policy.Rules) {
	switch rapid.IntRange(0, 10).Draw(t, "list") {
	case 0:
		r.AllowedMRTD = append(r.AllowedMRTD, someDigest.Draw(t, "more"))
	case 1:
		r.AllowedImages = append(r.AllowedImages, tdx.Hash{rapid.ByteRange(1, 255).Draw(t, "more")})
	case 2:
		r.MRSEAM = append(r.MRSEAM, someDigest.Draw(t, "more"))
	case 3:
		r.MRServiceTD = append(r.MRServiceTD, someDigest.Draw(t, "more"))
	case 4:
		r.PPID.Allow = append(r.PPID.Allow, someID.Draw(t, "more"))
	case 5:
		r.FMSPC.Allow = append(r.FMSPC.Allow, someFMSPC.Draw(t, "more"))
	case 6:
		r.TCB.Accepted = append(r.TCB.Accepted, someStatus.Draw(t, "more"))
	case 7:
		r.TCB.Advisories = append(r.TCB.Advisories, someAdvisory.Draw(t, "more"))
	case 8:
		r.TDAttributes.MayOne |= someBit.Draw(t, "more")
	case 9:
		r.XFAM.MayOne |= someBit.Draw(t, "more")
	case 10:
		r.TCB.GraceDays += rapid.IntRange(1, 100).Draw(t, "more")
	}
}

func judge(t *rapid.T, p *peer) policy.Verdict {
	made, err := policy.New(p.rules)
	if err != nil {
		t.Fatal(err)
	}
	return made.Check(p.ev, p.env)
}

// TestLargerAllowListsAdmitMore: what a policy admits is admitted by every policy that lists more.
func TestLargerAllowListsAdmitMore(t *testing.T) {
	admitted := 0
	rapid.Check(t, func(t *rapid.T) {
		p := drawPeer(t)
		before := judge(t, p)
		for range rapid.IntRange(1, 5).Draw(t, "times") {
			widen(t, &p.rules)
		}
		after := judge(t, p)
		if before.OK {
			admitted++
		}
		if before.OK && !after.OK {
			t.Fatalf("a larger list refuses: %v", after.Err())
		}
		for i, f := range before.Findings {
			if f.OK && !after.Findings[i].OK {
				t.Fatalf("a larger list fails rule %s: want %s, got %s", f.Rule, after.Findings[i].Want, f.Got)
			}
		}
	})
	if admitted == 0 {
		t.Error("no random peer was admitted: the property was not tried")
	}
}

// TestDenyListsWin: whoever is on a deny list is refused, whatever else is listed.
func TestDenyListsWin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPeer(policy.TDX)
		q, r := p.ev.Quote, &p.rules
		q.PPID, q.PIID, q.FMSPC = someID.Draw(t, "ppid"), someID.Draw(t, "piid"), someFMSPC.Draw(t, "fmspc")
		r.PPID.Allow, r.PIID.Allow, r.FMSPC.Allow = [][16]byte{q.PPID}, [][16]byte{q.PIID}, [][6]byte{q.FMSPC}
		r.MRSEAM, r.AllowedMRTD = []tdx.Digest{q.Quote.TD.MRSEAM}, []tdx.Digest{q.Quote.TD.MRTD} // an empty list would admit more
		if v := judge(t, p); !v.OK {
			t.Fatalf("refused before anything is denied: %v", v.Err())
		}
		denied := rapid.SliceOfN(someID, 0, 3).Draw(t, "denied")
		switch rapid.IntRange(0, 2).Draw(t, "list") {
		case 0:
			r.PPID.Deny = append(denied, q.PPID)
		case 1:
			r.PIID.Deny = append(denied, q.PIID)
		case 2:
			r.FMSPC.Deny = append(rapid.SliceOfN(someFMSPC, 0, 3).Draw(t, "denied platforms"), q.FMSPC)
		}
		widen(t, r)
		if v := judge(t, p); v.OK || v.Code != policy.Platform {
			t.Fatalf("a denied platform: %s", v.Code)
		}
	})
}

// TestDebugIsNeverAdmitted: no bit of the settings admits a TD under debug.
func TestDebugIsNeverAdmitted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPeer(policy.TDX)
		bits := rapid.ByteRange(1, 255).Draw(t, "bits")
		p.ev.Quote.Quote.TD.TDAttributes[0] = bits
		p.rules.TDAttributes = policy.Mask{MayOne: rapid.Uint64().Draw(t, "may")}
		p.rules.ImageSource = rapid.SampledFrom([]policy.ImageSource{policy.FromList, policy.Deferred}).Draw(t, "source")
		if p.rules.ImageSource == policy.Deferred {
			p.rules.AllowedImages = nil
		}
		made, err := policy.New(p.rules)
		if err != nil {
			if p.rules.TDAttributes.MayOne&0xff == 0 {
				t.Fatal(err)
			}
			p.rules.TDAttributes.MayOne &^= 0xff
			if made, err = policy.New(p.rules); err != nil {
				t.Fatal(err)
			}
		}
		if v := made.Check(p.ev, p.env); v.OK {
			t.Fatalf("attributes %#x are admitted", bits)
		}
	})
}
