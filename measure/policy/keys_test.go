package policy_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// keyCase says that one key of a document decides about a peer.
type keyCase struct {
	// refuses and accepts are values of the key, as JSON; either may be empty when the key cannot do that.
	refuses, accepts string
	// code is that of the refusal.
	code policy.Code
	// change prepares the peer, which is accepted otherwise.
	change func(*peer)
}

func quotedHex(raw []byte) string { return `"` + hex.EncodeToString(raw) + `"` }

func listedHex(raw []byte) string { return `["` + hex.EncodeToString(raw) + `"]` }

// keyCases has a case for every key that a document of type tdx may have.
func keyCases() map[string]keyCase {
	p := newPeer(policy.TDX)
	q, b := p.ev.Quote, p.ev.Quote.Quote.TD
	other := digest(0xee)
	image, otherImage := p.rules.AllowedImages[0], tdx.Hash{1}
	registers := func(last tdx.Digest) string {
		return fmt.Sprintf("[[%q,%q,%q,%q]]", b.RTMR[0], b.RTMR[1], b.RTMR[2], last)
	}
	nothing := func(*peer) {}
	return map[string]keyCase{
		"allowed_image_hash":   {quotedHex(otherImage[:]), quotedHex(image[:]), policy.Image, nothing},
		"allowed_image_hashes": {listedHex(otherImage[:]), listedHex(image[:]), policy.Image, nothing},
		"allowed_mrtd":         {listedHex(other[:]), listedHex(b.MRTD[:]), policy.Image, nothing},
		"allowed_rtmr":         {registers(other), registers(b.RTMR[3]), policy.Image, nothing},
		"image_source": {`"chain"`, `"defer"`, policy.Image, func(p *peer) {
			p.env.Images = images{hashes: []tdx.Hash{otherImage}}
		}},
		"td_attributes": {`{"must_one":"0x10000000"}`, `{"may_one":"0x30000000"}`, policy.TDAttributes, func(p *peer) {
			p.ev.Quote.Quote.TD.TDAttributes[3] = 0x30
		}},
		"xfam":            {`{"must_one":"0x1003","may_one":"0x61fff"}`, `{"may_one":"0x602e7"}`, policy.XFAM, nothing},
		"mr_seam":         {listedHex(other[:]), listedHex(b.MRSEAM[:]), policy.SEAM, nothing},
		"mr_signer_seam":  {quotedHex(other[:]), quotedHex(b.MRSignerSEAM[:]), policy.SEAM, nothing},
		"seam_attributes": {`"0x1"`, `"0x0"`, policy.SEAM, nothing},
		"mr_service_td":   {listedHex(other[:]), listedHex(make([]byte, 48)), policy.ServiceTD, nothing},
		"tcb.accepted": {`["UpToDate"]`, `["SWHardeningNeeded"]`, policy.TCBStatus, func(p *peer) {
			p.ev.Quote.Combined = dcap.SWHardeningNeeded
		}},
		"tcb.advisories": {`["INTEL-SA-00001"]`, `["INTEL-SA-00002"]`, policy.TCBStatus, func(p *peer) {
			p.rules.TCB.Accepted = []dcap.Status{dcap.SWHardeningNeeded}
			p.ev.Quote.Combined, p.ev.Quote.Advisories = dcap.SWHardeningNeeded, []string{"INTEL-SA-00002"}
		}},
		"tcb.grace_days":            {`29`, `30`, policy.TCBStatus, outdated(0)},
		"tcb.min_evaluation_number": {`19`, `18`, policy.CollateralRollback, nothing},
		"fmspc":                     {`{"allow":["000000000001"]}`, `{"allow":` + listedHex(q.FMSPC[:]) + `}`, policy.Platform, nothing},
		"ppid":                      {`{"deny":` + listedHex(q.PPID[:]) + `}`, `{"deny":` + listedHex(q.PIID[:]) + `}`, policy.Platform, nothing},
		"piid":                      {`{"deny":` + listedHex(q.PIID[:]) + `}`, `{"deny":` + listedHex(q.PPID[:]) + `}`, policy.Platform, nothing},
		"allowed_collateral_root_hashes": {listedHex(other[:]), listedHex(q.Root[:]), policy.Root, func(p *peer) {
			p.rules.AllowSimulated = true
		}},
		"max_cert_lifetime": {`"23h59m59s"`, `"24h"`, policy.CertLifetime, nothing},
		"max_quote_age":     {`"59m59s"`, `"1h"`, policy.CertAge, nothing},
		"require_v2":        {`true`, `false`, policy.CertProfile, func(p *peer) { p.ev.Claims = nil }},
		"role":              {`"proxy"`, `"worker"`, policy.CertRole, nothing},
		"network_id":        {`-3`, `-239`, policy.CertNetwork, nothing},
	}
}

// document writes the peer's policy as JSON, with one key set to a value.
func (p *peer) document(t *testing.T, key, value string) []byte {
	t.Helper()
	made, err := policy.New(p.rules)
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	outer, inner, nested := strings.Cut(key, ".")
	if nested {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(doc[outer], &object); err != nil {
			t.Fatal(err)
		}
		object[inner] = json.RawMessage(value)
		if value = string(encode(t, object)); value == "" {
			t.Fatal("nothing encoded")
		}
	}
	if strings.HasPrefix(key, "allowed_image_hash") || key == "image_source" {
		delete(doc, "allowed_image_hashes")
	}
	doc[outer] = json.RawMessage(value)
	return encode(t, doc)
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestEveryKeyDecides goes from the text of a document to the verdict: each key has a value that refuses a peer by the
// rule that it is about, and one that accepts it.
func TestEveryKeyDecides(t *testing.T) {
	cases := keyCases()
	for key, tc := range cases {
		t.Run(key, func(t *testing.T) {
			for value, want := range map[string]policy.Code{tc.refuses: tc.code, tc.accepts: policy.OK} {
				p := newPeer(policy.TDX)
				tc.change(p)
				made, err := policy.Parse(p.document(t, key, value))
				if err != nil {
					t.Fatal(err)
				}
				if v := made.Check(p.ev, p.env); v.Code != want {
					t.Errorf("%s is %s: code %s, want %s (%v)", key, value, v.Code, want, v.Err())
				}
			}
		})
	}
	// The keys of a document with everything in it are the ones above.
	var doc map[string]json.RawMessage
	if err := json.Unmarshal([]byte(everything), &doc); err != nil {
		t.Fatal(err)
	}
	delete(doc, "type")
	delete(doc, "allow_simulated") // TestSimulatedRootsNeedBothSettings
	outer := map[string]bool{}
	for key := range cases {
		name, _, _ := strings.Cut(key, ".")
		outer[name] = true
	}
	delete(outer, "image_source") // excludes allowed_image_hashes
	got, want := slices.Sorted(maps.Keys(outer)), slices.Sorted(maps.Keys(doc))
	if !slices.Equal(got, want) {
		t.Errorf("keys %q have cases, want %q", got, want)
	}
}

// TestSessionsAreJudgedAgain: a verdict's evidence, judged later or by a changed policy, gives the answer that a new
// handshake would get, apart from the age of its claims, which counted then.
func TestSessionsAreJudgedAgain(t *testing.T) {
	start := newPeer(policy.TDX)
	chain(images{hashes: []tdx.Hash{tdx.ImageHash(&td().Measurements)}})(start)
	start.ev.Seen = now
	if v := start.check(t); !v.OK {
		t.Fatal(v.Err())
	}
	for name, tc := range map[string]struct {
		change func(*peer)
		code   policy.Code
	}{
		"nothing happened": {func(*peer) {}, policy.OK},
		"hours pass":       {func(p *peer) { p.env.Now = now.Add(12 * time.Hour) }, policy.OK},
		"collateral ends":  {func(p *peer) { p.env.Now = now.AddDate(0, 0, 21) }, policy.CollateralExpired},
		"image withdrawn":  {func(p *peer) { p.env.Images = images{hashes: []tdx.Hash{{1}}} }, policy.Image},
		"list emptied":     {func(p *peer) { p.env.Images = images{} }, policy.PolicyEmpty},
		"platform denied": {func(p *peer) {
			p.rules.PPID.Deny = [][16]byte{p.ev.Quote.PPID}
		}, policy.Platform},
		"floor raised": {func(p *peer) { p.rules.TCB.MinEvaluationNumber = 19 }, policy.CollateralRollback},
		"recovery": {func(p *peer) {
			q := *p.ev.Quote
			q.Combined, q.PlatformStatus, q.Generation = dcap.OutOfDate, dcap.OutOfDate, [32]byte{7}
			p.ev.Quote = &q
		}, policy.TCBStatus},
	} {
		t.Run(name, func(t *testing.T) {
			later := *start
			tc.change(&later)
			if v := later.check(t); v.Code != tc.code {
				t.Errorf("code %s, want %s: %v", v.Code, tc.code, v.Err())
			}
		})
	}
}
