package policy_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// schema compiles the checked-in schema of verdicts.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile("schema/cocoon.policy.verdict.1.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("verdict.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("verdict.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// peers are one of each kind, and refused ones.
func peers() map[string]*peer {
	list := map[string]*peer{"empty": newPeer(policy.TDX), "old": newPeer(policy.TDX), "refused": newPeer(policy.TDX), "chain": newPeer(policy.TDX)}
	for _, typ := range []policy.Type{policy.Any, policy.TDX, policy.FakeTDX, policy.SGX} {
		list[string(typ)] = newPeer(typ)
	}
	list["empty"].ev = policy.Evidence{}
	list["old"].ev.Quote.Quote.TD.Service, list["old"].ev.Quote.HasPIID = nil, false
	list["old"].ev.Quote.Advisories = []string{"INTEL-SA-1"}
	list["refused"].ev.Quote, list["refused"].ev.Err = nil, &dcap.Error{Class: dcap.ClassRevoked, Err: errors.New("revoked")}
	chain(images{hashes: []tdx.Hash{{1}}})(list["chain"])
	return list
}

func TestVerdictsAreTheirSchemas(t *testing.T) {
	s := schema(t)
	for name, p := range peers() {
		text, err := json.Marshal(p.check(t).Document())
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		object, ok := doc.(map[string]any)
		if !ok {
			t.Fatalf("%s is not an object", text)
		}
		object["extra"] = 1
		if s.Validate(object) == nil {
			t.Error("an unknown member is accepted")
		}
	}
}

func TestVerdictCarriesTheEvidence(t *testing.T) {
	p := newPeer(policy.TDX)
	v := p.check(t)
	doc := v.Document()
	if v.Quote != p.ev.Quote || v.ImageHash != p.rules.AllowedImages[0] || v.Claims != p.ev.Claims || v.Type != policy.TDX {
		t.Errorf("verdict %+v", v)
	}
	want := &policy.PlatformDocument{
		FMSPC: "90c06f000000", PCEID: "0000", PPID: "0102" + strings.Repeat("0", 28), PIID: "0304" + strings.Repeat("0", 28),
		Root: dcap.IntelRootID().String(), Status: "UpToDate", PlatformStatus: "UpToDate", ModuleStatus: "UpToDate", QEStatus: "UpToDate",
		TCBDate: "2026-02-21T12:00:00Z", NewestTCBDate: "2026-10-21T12:00:00Z", Advisories: []string{},
		Generation: "06" + strings.Repeat("0", 62), EvaluationNumber: 18, Expires: "2026-12-11T12:00:00Z",
	}
	if d := cmp.Diff(want, doc.Platform); d != "" {
		t.Error(d)
	}
	if doc.TD == nil || doc.TD.ImageHash != v.ImageHash || doc.TD.RTMR[3] != digest(5) || *doc.TD.MRServiceTD != (tdx.Digest{}) ||
		doc.TD.TDAttributes != "0000001000000000" || doc.Enclave != nil || doc.Role != "worker" || *doc.NetworkID != -239 {
		t.Errorf("document %+v", doc)
	}
	e := newPeer(policy.SGX).check(t).Document()
	if e.TD != nil || e.Enclave == nil || e.Enclave.MREnclave != "07"+strings.Repeat("0", 62) || e.Platform.ModuleStatus != "" {
		t.Errorf("document %+v", e)
	}
	refused := peers()["refused"].check(t)
	if d := refused.Document(); d.Platform != nil || d.TD != nil || d.Code != "revoked" || !refused.ImageHash.IsZero() {
		t.Errorf("a refused quote is described: %+v", d)
	}
	results := map[string]bool{}
	for _, f := range refused.Document().Findings {
		results[f.Result] = true
	}
	if d := cmp.Diff(map[string]bool{"pass": true, "fail": true, "skip": true}, results); d != "" {
		t.Error(d)
	}
}

// TestErrorsDoNotIdentifyPlatforms: a refusal's text gets into logs of every level; its fields are for who asks.
func TestErrorsDoNotIdentifyPlatforms(t *testing.T) {
	for rule, change := range map[string]func(p *peer){
		"ppid": func(p *peer) { p.rules.PPID.Deny = [][16]byte{p.ev.Quote.PPID} },
		"piid": func(p *peer) { p.rules.PIID.Allow = [][16]byte{{9, 9}} },
	} {
		p := newPeer(policy.TDX)
		change(p)
		err := p.check(t).Err()
		denied, ok := errors.AsType[*policy.Denied](err)
		if !ok || denied.Rule != rule || denied.Got == "" {
			t.Fatalf("%s: %+v", rule, err)
		}
		for _, id := range []string{denied.Got, "0102", "0304", "0909"} {
			if strings.Contains(err.Error(), id) {
				t.Errorf("%s: %v tells %s", rule, err, id)
			}
		}
		if !strings.Contains(err.Error(), "rule "+rule) {
			t.Errorf("%v does not name the rule %s", err, rule)
		}
	}
}

// TestLogsDoNotIdentifyPlatforms: PPID and PIID stay out of what is logged; outcome, rule and image are in it.
func TestLogsDoNotIdentifyPlatforms(t *testing.T) {
	p := newPeer(policy.TDX)
	p.ev.Quote.Quote.TD.TDAttributes[0] = 1
	v := p.check(t)
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("Refused", slog.Any("verdict", v))
	for _, part := range []string{"verdict.code=td_debug", "verdict.rule=td_debug", "verdict.image=" + v.ImageHash.String(), "verdict.type=tdx"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %s in %s", part, out.String())
		}
	}
	for _, id := range [][16]byte{v.Quote.PPID, v.Quote.PIID} {
		if strings.Contains(out.String(), hex.EncodeToString(id[:])) {
			t.Errorf("%s identifies the platform", out.String())
		}
	}
	const want = "evidence refused by rule td_debug (td_debug): want attribute bits 0 to 7 zero, got 0x1 (DEBUG)"
	if err := v.Err(); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestPoliciesCannotBeChanged: neither what a policy was made of nor what it hands out leads back into it.
func TestPoliciesCannotBeChanged(t *testing.T) {
	role, network := policy.RoleWorker, int32(1)
	r := newPeer(policy.TDX).rules
	r.Claims.Role, r.Claims.NetworkID = &role, &network
	r.PPID.Deny, r.TCB.Advisories = [][16]byte{{9}}, []string{"INTEL-SA-1"}
	p, err := policy.New(r)
	if err != nil {
		t.Fatal(err)
	}
	want, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got := p.Rules()
	for _, r := range []*policy.Rules{&r, &got} {
		r.AllowedImages[0], r.CollateralRoots[0], r.MRServiceTD[0] = tdx.Hash{1}, dcap.RootID{1}, digest(1)
		r.TCB.Accepted[0], r.TCB.Advisories[0], r.PPID.Deny[0] = dcap.OutOfDate, "INTEL-SA-2", [16]byte{}
		*r.Claims.Role, *r.Claims.NetworkID = policy.RoleTool, 2
	}
	now, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(now)); d != "" {
		t.Error(d)
	}
}

// TestOnePolicyServesManyConnections runs under the race detector.
func TestOnePolicyServesManyConnections(t *testing.T) {
	good, bad := newPeer(policy.TDX), newPeer(policy.TDX)
	bad.ev.ReportDataOK = false
	p, err := policy.New(good.rules)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if v := p.Check(good.ev, good.env); !v.OK {
					t.Error(v.Err())
				}
				if v := p.Check(bad.ev, bad.env); v.Code != policy.ReportData {
					t.Error(v.Code)
				}
			}
		})
	}
	wg.Wait()
}

// TestChecksAllocateLittle: a check runs on every connection, also when the quote was verified before.
func TestChecksAllocateLittle(t *testing.T) {
	p := newPeer(policy.TDX)
	made, err := policy.New(p.rules)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if v := made.Check(p.ev, p.env); !v.OK {
			t.Fatal(v.Err())
		}
	}); n > 12 {
		t.Errorf("%.0f allocations, want at most 12", n)
	}
}
