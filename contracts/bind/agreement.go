package bind

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// hour is the unit of an agreement's price, in seconds.
const hour = 3600

// AgreementReserve lies beside the deposit and pays the rent; an agreement keeps it when it closes.
const AgreementReserve Nano = 1e8

// AgreementState is where a workload agreement stands (contracts.md section 13.2).
type AgreementState uint8

// States of an agreement. Grace, when the deposit is used up, is never stored: StateAt finds it.
const (
	AgreementCreated AgreementState = iota
	AgreementPriced
	AgreementAccepted
	AgreementFunded
	AgreementActive
	AgreementGrace
	AgreementClosed
)

// String is the state's name.
func (s AgreementState) String() string {
	names := [...]string{"created", "priced", "accepted", "funded", "active", "grace", "closed"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// AgreementStorage is the data of a workload agreement.
type AgreementStorage struct {
	State     AgreementState // never AgreementGrace
	Hourly    Nano           // price per hour, 0 before there is one
	Deposit   Nano           // everything that was ever funded
	Paid      Nano           // of it, to the farmer
	StartedAt uint32         // Unix time; moved forward by the time in which nothing was earned
	StoppedAt uint32         // Unix time, 0 before the end
	NodeKey   *Hash          // instead of the one in Terms; nil for none
	Price     *AcceptedPrice // nil before there is one
	Terms     AgreementTerms
}

// AgreementTerms never change, and an agreement's address follows from them alone.
type AgreementTerms struct {
	User      *address.Address
	NodeKey   Hash   // ed25519 key of the node
	AcceptBy  uint32 // Unix time until which a price and the farmer's acceptance may come
	DeployBy  uint32 // Unix time until which deposit and report may come
	Grace     uint32 // seconds after the deposit is used up in which a fund still saves the workload
	MinHours  uint16 // what the first deposit must pay for
	MaxHourly Nano   // the user pays no more; 0 for any price

	PriceSource PriceSource
	Registry    *address.Address // of farms; any address when prices are signed
	SourceKey   Hash             // signs prices; zero when the registry gives them

	WorkloadHash Hash   // of the encrypted definition
	SizeGiB      uint32 // volume
	WorkloadKind uint8  // what is run, as in the farm's list of prices
	Farm         uint64
	Nonce        uint64
}

// PriceSource says who may give an agreement its price.
type PriceSource uint8

// Sources of a price.
const (
	PriceOfRegistry PriceSource = iota
	PriceSigned
)

// AcceptedPrice says who gets the money and who may accept.
type AcceptedPrice struct {
	Farmer  *address.Address
	FarmKey Hash   // accepts for the farm; zero for none
	Version uint32 // of the farm's prices
}

// ParseAgreementStorage reads an agreement's data cell.
func ParseAgreementStorage(from *cell.Cell) (AgreementStorage, error) {
	var s AgreementStorage
	if err := decode(from, &s); err != nil {
		return AgreementStorage{}, fmt.Errorf("reading agreement storage: %w", err)
	}
	return s, nil
}

// Cell writes the data cell.
func (s AgreementStorage) Cell() (*cell.Cell, error) {
	out, err := encode(&s)
	if err != nil {
		return nil, fmt.Errorf("writing agreement storage: %w", err)
	}
	return out, nil
}

// NewAgreement is the agreement of these terms. Deploy it with 0.15 TON, of which AgreementReserve stays.
func NewAgreement(code *cell.Cell, t AgreementTerms) (Instance, error) {
	data, err := AgreementStorage{Terms: t}.Cell()
	return newInstance("agreement", code, data, err)
}

// OpenAgreement reads what an account holds and refuses what is no agreement of this code: a state that was deployed
// ready-made has another address than its terms.
func OpenAgreement(code *cell.Cell, at *address.Address, data *cell.Cell) (AgreementStorage, error) {
	s, err := ParseAgreementStorage(data)
	if err != nil {
		return AgreementStorage{}, err
	}
	want, err := NewAgreement(code, s.Terms)
	if err != nil {
		return AgreementStorage{}, err
	}
	if !want.Address.Equals(at) {
		return AgreementStorage{}, fmt.Errorf("reading agreement at %s: its terms belong to %s: its state was not reached by an agreement", at, want.Address)
	}
	return s, nil
}

func (s *AgreementStorage) fields(c *codec) {
	number64(c, "state", 3, &s.State)
	if c.err == nil && (s.State == AgreementGrace || s.State > AgreementClosed) {
		c.fail("state", fmt.Errorf("%s is not stored", s.State))
	}
	c.amount("hourly", &s.Hourly)
	c.amount("deposit", &s.Deposit)
	c.amount("paid", &s.Paid)
	number64(c, "started_at", 32, &s.StartedAt)
	number64(c, "stopped_at", 32, &s.StoppedAt)
	replaced := s.NodeKey != nil
	c.boolean("node_key", &replaced)
	if replaced && c.err == nil {
		if c.reading() {
			s.NodeKey = new(Hash)
		}
		c.hash("node_key", s.NodeKey)
	}
	maybe(c, "price", &s.Price)
	c.sub("terms", &s.Terms)
}

func (p *AcceptedPrice) fields(c *codec) {
	c.addr("farmer", &p.Farmer)
	c.hash("farm_key", &p.FarmKey)
	number64(c, "version", 32, &p.Version)
}

func (t *AgreementTerms) fields(c *codec) {
	c.addr("user", &t.User)
	c.hash("node_key", &t.NodeKey)
	number64(c, "accept_by", 32, &t.AcceptBy)
	number64(c, "deploy_by", 32, &t.DeployBy)
	number64(c, "grace", 32, &t.Grace)
	number64(c, "min_hours", 16, &t.MinHours)
	c.amount("max_hourly", &t.MaxHourly)
	c.sub("source", (*termsSource)(t))
	c.sub("workload", (*termsWorkload)(t))
}

type termsSource AgreementTerms

func (t *termsSource) fields(c *codec) {
	number64(c, "price_source", 8, &t.PriceSource)
	c.addr("registry", &t.Registry)
	c.hash("key", &t.SourceKey)
}

type termsWorkload AgreementTerms

func (t *termsWorkload) fields(c *codec) {
	c.hash("workload_hash", &t.WorkloadHash)
	number64(c, "size_gib", 32, &t.SizeGiB)
	number64(c, "kind", 8, &t.WorkloadKind)
	number64(c, "farm", 64, &t.Farm)
	number64(c, "nonce", 64, &t.Nonce)
}

// Cell writes the terms; its hash is what a price is bound to.
func (t AgreementTerms) Cell() (*cell.Cell, error) {
	out, err := encode(&t)
	if err != nil {
		return nil, fmt.Errorf("writing terms: %w", err)
	}
	return out, nil
}

// Key is the node's key.
func (s AgreementStorage) Key() Hash {
	if s.NodeKey != nil {
		return *s.NodeKey
	}
	return s.Terms.NodeKey
}

// Agreed is what a farm's key signs to accept: price, node and terms.
func (s AgreementStorage) Agreed() (Hash, error) {
	out, err := encode(agreed{s})
	if err != nil {
		return Hash{}, fmt.Errorf("hashing what is agreed: %w", err)
	}
	return Hash(out.Hash()), nil
}

type agreed struct{ AgreementStorage }

func (a agreed) fields(c *codec) {
	key := a.Key()
	c.amount("hourly", &a.Hourly)
	c.hash("node_key", &key)
	c.sub("terms", &a.Terms)
}

// ExpiresAt is the Unix time at which the deposit is used up; false before the workload runs.
func (s AgreementStorage) ExpiresAt() (uint64, bool) {
	if s.Hourly == 0 || s.StartedAt == 0 {
		return 0, false
	}
	hi, lo := bits.Mul64(uint64(s.Deposit), hour)
	if hi >= uint64(s.Hourly) {
		return math.MaxUint64, true
	}
	seconds, _ := bits.Div64(hi, lo, uint64(s.Hourly))
	out, carry := bits.Add64(uint64(s.StartedAt), seconds, 0)
	if carry != 0 {
		return math.MaxUint64, true
	}
	return out, true
}

// Earned is what the farmer has earned by a time, cumulative: min(deposit, floor(hourly x seconds / 3600)), where seconds
// end when the deposit does, or when the agreement was closed.
func (s AgreementStorage) Earned(at uint32) Nano {
	expires, running := s.ExpiresAt()
	switch {
	case s.State == AgreementClosed:
		return s.Paid
	case s.State != AgreementActive || !running:
		return 0
	}
	until := min(uint64(at), expires)
	if until <= uint64(s.StartedAt) {
		return 0
	}
	hi, lo := bits.Mul64(uint64(s.Hourly), until-uint64(s.StartedAt))
	if hi >= hour {
		return s.Deposit
	}
	earned, _ := bits.Div64(hi, lo, hour)
	return min(s.Deposit, Nano(earned))
}

// Split is what a cancel at a time pays: the farmer what is earned and not yet paid, the user the rest of the deposit.
func (s AgreementStorage) Split(at uint32) (farmer, user Nano) {
	if s.State == AgreementClosed {
		return 0, 0
	}
	earned := s.Earned(at)
	return earned - s.Paid, s.Deposit - earned
}

// StateAt is the state at a time, with grace.
func (s AgreementStorage) StateAt(now uint32) AgreementState {
	if expires, ok := s.ExpiresAt(); ok && s.State == AgreementActive && uint64(now) > expires {
		return AgreementGrace
	}
	return s.State
}

// Deadline is the last second before anyone may end the agreement with an expire; false once it is closed.
func (s AgreementStorage) Deadline() (uint64, bool) {
	switch s.State {
	case AgreementCreated, AgreementPriced:
		return uint64(s.Terms.AcceptBy), true
	case AgreementAccepted, AgreementFunded:
		return uint64(s.Terms.DeployBy), true
	case AgreementActive, AgreementGrace:
		expires, _ := s.ExpiresAt()
		sum, carry := bits.Add64(expires, uint64(s.Terms.Grace), 0)
		if carry != 0 {
			return math.MaxUint64, true
		}
		return sum, true
	case AgreementClosed:
	}
	return 0, false
}

// Missing is how much must still be funded before the node may begin; 0 when nothing is missing or there is no price.
func (s AgreementStorage) Missing() Nano {
	hi, need := bits.Mul64(uint64(s.Hourly), uint64(s.Terms.MinHours))
	if hi != 0 || need > maxAmount {
		return maxAmount - s.Deposit
	}
	if s.State >= AgreementFunded || Nano(need) <= s.Deposit {
		return 0
	}
	return Nano(need) - s.Deposit
}
