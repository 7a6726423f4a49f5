package bind

import "github.com/xssnick/tonutils-go/address"

// octet is a number of at most eight bits.
func (s *stack) octet(bits int) uint8 { return uint8(s.number(bits).Uint64()) } //nolint:gosec // number checks the width

// AgreementData is what an agreement's get method get_agreement_data says about now.
type AgreementData struct {
	State                 AgreementState // with grace
	User                  *address.Address
	NodeKey               Hash
	Hourly, Deposit, Paid Nano
	Earned                Nano
	StartedAt, StoppedAt  uint32
	ExpiresAt             uint64 // Unix time, 0 before the workload runs; saturated
}

// ParseAgreementData reads the result of get_agreement_data.
func ParseAgreementData(values []any) (AgreementData, error) {
	s := stack{values: values}
	d := AgreementData{
		State: AgreementState(s.octet(3)), User: s.addr(), NodeKey: s.hash(), Hourly: s.amount(), Deposit: s.amount(),
		Paid: s.amount(), Earned: s.amount(), StartedAt: s.word(), StoppedAt: s.word(),
	}
	if expires := s.number(128); expires.IsUint64() {
		d.ExpiresAt = expires.Uint64()
	} else {
		d.ExpiresAt = 1<<64 - 1
	}
	if err := s.end("get_agreement_data"); err != nil {
		return AgreementData{}, err
	}
	return d, nil
}

// GovernorData is what a governor's get method get_governor_data says.
type GovernorData struct {
	Root, Owner             *address.Address
	Threshold               uint8
	DelayAdd, DelayUpgrade  uint32 // seconds
	LastProposal, LastEvent uint64
}

// ParseGovernorData reads the result of get_governor_data.
func ParseGovernorData(values []any) (GovernorData, error) {
	s := stack{values: values}
	d := GovernorData{
		Root: s.addr(), Owner: s.addr(), Threshold: s.octet(8), DelayAdd: s.word(), DelayUpgrade: s.word(),
		LastProposal: s.number(64).Uint64(), LastEvent: s.number(64).Uint64(),
	}
	if err := s.end("get_governor_data"); err != nil {
		return GovernorData{}, err
	}
	return d, nil
}

// ParseEntryData reads the result of get_entry for a hash: an entry without the keys that attested it, their number, and
// whether there is one.
func ParseEntryData(hash Hash, values []any) (e Entry, builders uint16, err error) {
	s := stack{values: values}
	e = Entry{
		Hash: hash, State: EntryState(s.octet(3)), AddedAt: s.word(), EffectiveFrom: s.word(),
		DrainAt: s.word(), RevokedAt: s.word(), Reason: s.octet(8),
	}
	builders = uint16(s.number(16).Uint64()) //nolint:gosec // number checks the width
	e.ManifestHash, e.SourceHash = s.hash(), s.hash()
	if err := s.end("get_entry"); err != nil {
		return Entry{}, 0, err
	}
	return e, builders, nil
}
