package policy_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// now is the clock of the tests.
var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// digest is a register full of one byte.
func digest(b byte) tdx.Digest { return tdx.Digest(bytes.Repeat([]byte{b}, tdx.DigestSize)) }

// td is the body of a TD that every default accepts.
func td() *tdx.Body {
	b := &tdx.Body{
		MRSEAM: digest(9),
		Measurements: tdx.Measurements{
			MRTD: digest(1), RTMR: [4]tdx.Digest{digest(2), digest(3), digest(4), digest(5)},
		},
		Service: &tdx.ServiceTD{},
	}
	binary.LittleEndian.PutUint64(b.TDAttributes[:], 1<<28)
	binary.LittleEndian.PutUint64(b.XFAM[:], 0x602e7)
	return b
}

// enclave is the body of an enclave that every default accepts.
func enclave() *tdx.SGXBody {
	e := &tdx.SGXBody{MREnclave: [32]byte{7}, MRSigner: [32]byte{8}}
	e.Attributes[0] = 5 // INIT and MODE64BIT
	return e
}

// result is a verified TD quote on a platform that every default accepts.
func result() *dcap.Result {
	return &dcap.Result{
		Quote:    &tdx.Quote{Version: 5, TEE: tdx.TDX, TD: td()},
		Combined: dcap.UpToDate, PlatformStatus: dcap.UpToDate, ModuleStatus: dcap.UpToDate, QEStatus: dcap.UpToDate,
		TCBDate: now.AddDate(0, -9, 0), NewestTCBDate: now.AddDate(0, -1, 0),
		FMSPC: [6]byte{0x90, 0xc0, 0x6f}, PPID: [16]byte{1, 2}, PIID: [16]byte{3, 4}, HasPIID: true,
		Root: dcap.IntelRootID(), Generation: [32]byte{6}, EvaluationNumber: 18, CollateralExpires: now.AddDate(0, 0, 20),
	}
}

// peer is one peer and the policy that it is judged by, before a test changes either.
type peer struct {
	rules policy.Rules
	ev    policy.Evidence
	env   policy.Env
}

// claims are those of a v2 worker.
func claims() *policy.Claims {
	return &policy.Claims{
		Role: policy.RoleWorker, NetworkID: -239, MCSeqno: 1000, MCRootHash: [32]byte{1},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(23 * time.Hour),
	}
}

// newPeer is accepted: by the defaults of its type with its own image listed.
func newPeer(t policy.Type) *peer {
	p := &peer{rules: policy.Defaults(t), env: policy.Env{Now: now}}
	p.ev = policy.Evidence{ReportDataOK: true, CertLifetime: 24 * time.Hour, Claims: claims()}
	switch t {
	case policy.TDX:
		p.ev.Quote = result()
		p.rules.AllowedImages = []tdx.Hash{tdx.ImageHash(&td().Measurements)}
	case policy.SGX:
		p.ev.Quote = result()
		p.ev.Quote.Quote = &tdx.Quote{Version: 3, TEE: tdx.SGX, SGX: enclave()}
		p.ev.Quote.ModuleStatus = dcap.NoStatus
		p.rules.AllowedEnclaves = [][32]byte{{7}}
		p.ev.Claims, p.ev.CertLifetime = nil, 0
	case policy.FakeTDX:
		p.ev.Fake = true
	default: // no evidence
	}
	return p
}

// check judges the peer.
func (p *peer) check(t *testing.T) policy.Verdict {
	t.Helper()
	made, err := policy.New(p.rules)
	if err != nil {
		t.Fatal(err)
	}
	return made.Check(p.ev, p.env)
}

// images is a chain with a list.
type images struct {
	hashes []tdx.Hash
	err    error
}

func (i images) Allowed() ([]tdx.Hash, time.Time, error) {
	return i.hashes, now.Add(-time.Minute), i.err
}

// blocks is a masterchain of one block.
type blocks struct {
	seqno int32
	root  [32]byte
	time  time.Time
}

func (b blocks) BlockTime(seqno int32, root [32]byte) (time.Time, error) {
	if seqno != b.seqno || root != b.root {
		return time.Time{}, errors.New("no such block")
	}
	return b.time, nil
}
