package publish

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
)

// AddressDoc is an address as JSON, in both forms.
type AddressDoc struct {
	Address string `json:"address"`
	Raw     string `json:"raw"`
}

// NewAddressDoc describes an address.
func NewAddressDoc(a *address.Address) AddressDoc { return AddressDoc{a.String(), a.StringRaw()} }

// BlockDoc is a block as JSON.
type BlockDoc struct {
	Seqno    uint32     `json:"seqno"`
	RootHash chain.Hash `json:"root_hash"`
	FileHash chain.Hash `json:"file_hash"`
	Time     string     `json:"time"`
}

// NewBlockDoc describes a block.
func NewBlockDoc(b chain.Block) BlockDoc {
	return BlockDoc{b.Seqno, b.RootHash, b.FileHash, b.Time.UTC().Format(time.RFC3339)}
}

// ParamsDoc is a root's parameters as JSON; amounts in nanoTON.
type ParamsDoc struct {
	StructVersion        uint8  `json:"struct_version"`
	ParamsVersion        uint32 `json:"params_version"`
	UniqueID             uint32 `json:"unique_id"`
	IsTest               bool   `json:"is_test"`
	PricePerToken        string `json:"price_per_token"`
	WorkerFeePerToken    string `json:"worker_fee_per_token"`
	PromptMultiplier     uint32 `json:"prompt_multiplier"`
	CachedMultiplier     uint32 `json:"cached_multiplier"`
	CompletionMultiplier uint32 `json:"completion_multiplier"`
	ReasoningMultiplier  uint32 `json:"reasoning_multiplier"`
	ProxyDelayMS         int64  `json:"proxy_delay_ms"`
	ClientDelayMS        int64  `json:"client_delay_ms"`
	MinProxyStake        string `json:"min_proxy_stake"`
	MinClientStake       string `json:"min_client_stake"`
}

// ProxyDoc is a registered proxy as JSON.
type ProxyDoc struct {
	Seqno uint32 `json:"seqno"`
	Addr  string `json:"addr"`
}

// RootDoc is a root as of a block as JSON.
type RootDoc struct {
	Contract     AddressDoc `json:"contract"`
	Network      string     `json:"network"`
	Block        BlockDoc   `json:"block"`
	Owner        AddressDoc `json:"owner"`
	Code         string     `json:"code"` // ours, live or unknown
	CodeHash     string     `json:"code_hash"`
	Version      uint32     `json:"version"`
	Params       ParamsDoc  `json:"params"`
	ProxyHashes  []string   `json:"proxy_hashes"`
	WorkerHashes []string   `json:"worker_hashes"`
	ModelHashes  []string   `json:"model_hashes"`
	Proxies      []ProxyDoc `json:"proxies"`
}

// NewRootDoc describes a root.
func NewRootDoc(s *registry.Snapshot, n registry.Network) RootDoc {
	p := s.Params
	d := RootDoc{
		Contract: NewAddressDoc(s.Root), Network: n.String(), Block: NewBlockDoc(s.Block), Owner: NewAddressDoc(s.Owner),
		Code: originOf(s.Code), CodeHash: hex.EncodeToString(s.Account.Code.Hash()), Version: s.Version,
		Params: ParamsDoc{
			StructVersion: p.StructVersion, ParamsVersion: p.ParamsVersion, UniqueID: p.UniqueID, IsTest: p.IsTest,
			PricePerToken: nano(p.PricePerToken), WorkerFeePerToken: nano(p.WorkerFee),
			PromptMultiplier: p.PromptMultiplier, CachedMultiplier: p.CachedMultiplier,
			CompletionMultiplier: p.CompletionMultiplier, ReasoningMultiplier: p.ReasoningMultiplier,
			ProxyDelayMS: int64(p.ProxyDelay) * 1000, ClientDelayMS: int64(p.ClientDelay) * 1000,
			MinProxyStake: nano(p.MinProxyStake), MinClientStake: nano(p.MinClientStake),
		},
		ProxyHashes: hexes(s.ProxyHashes), WorkerHashes: hexes(s.WorkerHashes), ModelHashes: hexes(s.ModelHashes),
		Proxies: make([]ProxyDoc, len(s.Proxies)),
	}
	for i, x := range s.Proxies {
		d.Proxies[i] = ProxyDoc{x.Seqno, string(x.Addr)}
	}
	return d
}

func originOf(id *code.Identity) string {
	if id == nil {
		return "unknown"
	}
	return string(id.Origin)
}

func hexes(list []bind.Hash) []string {
	out := make([]string, len(list))
	for i, h := range list {
		out[i] = hex.EncodeToString(h[:])
	}
	return out
}

func nano(n bind.Nano) string { return strconv.FormatUint(uint64(n), 10) }

// TON writes an amount of nanoTON for people: 1.5 TON.
func TON(amount *big.Int) string {
	whole, rest := new(big.Int).QuoRem(amount, big.NewInt(1e9), new(big.Int))
	if rest.Sign() == 0 {
		return whole.String() + " TON"
	}
	text := fmt.Sprintf("%09d", rest.Int64())
	for text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	return whole.String() + "." + text + " TON"
}

// ChangeDoc is a change as JSON.
type ChangeDoc struct {
	Action string `json:"action"`
	entryDoc
}

// MessageDoc is an unsigned message as JSON, for wallets elsewhere: its body as a bag of cells, and a link that wallet
// apps open. Deploying messages carry the state too, which links cannot.
type MessageDoc struct {
	What      string     `json:"what"`
	To        AddressDoc `json:"to"`
	Amount    string     `json:"amount"` // nanoTON
	Body      string     `json:"body,omitempty"`
	StateInit string     `json:"state_init,omitempty"`
	Link      string     `json:"link,omitempty"`
}

// NewMessageDoc describes an order.
func NewMessageDoc(o Order) (MessageDoc, error) {
	d := MessageDoc{What: o.What, To: NewAddressDoc(o.To), Amount: nano(o.Value)}
	query := "?amount=" + d.Amount
	if o.Body != nil {
		boc := o.Body.ToBOC()
		d.Body = base64.StdEncoding.EncodeToString(boc)
		query += "&bin=" + base64.URLEncoding.EncodeToString(boc)
	}
	if o.Init == nil {
		d.Link = "ton://transfer/" + o.To.String() + query
		return d, nil
	}
	state, err := bind.StateInit(o.Init.Code, o.Init.Data)
	if err != nil {
		return d, err
	}
	d.StateInit = base64.StdEncoding.EncodeToString(state.ToBOC())
	return d, nil
}

// StepDoc is a transaction of a rehearsal as JSON.
type StepDoc struct {
	From   string `json:"from,omitempty"`
	To     string `json:"to"`
	Op     string `json:"op"`
	Value  string `json:"value"`
	Exit   *int32 `json:"exit_code,omitempty"` // absent: no code ran
	Action int32  `json:"action_result"`
	Bounce bool   `json:"bounced"`
	Gas    uint64 `json:"gas"`
	Fees   string `json:"fees"`
}

// RehearsalDoc is a rehearsal as JSON.
type RehearsalDoc struct {
	OK    bool      `json:"ok"`
	Gas   uint64    `json:"gas"`
	Fees  string    `json:"fees"` // nanoTON
	Steps []StepDoc `json:"steps"`
}

// NewRehearsalDoc describes a rehearsal of orders.
func NewRehearsalDoc(r *Rehearsal, orders []Order) *RehearsalDoc {
	if r == nil {
		return nil
	}
	d := &RehearsalDoc{OK: r.Err(orders) == nil, Gas: r.Gas(), Fees: r.Fees().String(), Steps: make([]StepDoc, len(r.Steps))}
	for i, s := range r.Steps {
		d.Steps[i] = StepDoc{
			To: s.To.String(), Op: s.Op.String(), Value: s.Value.String(), Action: s.Action, Bounce: s.Bounced, Gas: s.Gas, Fees: s.Fees.String(),
		}
		if s.From != nil {
			d.Steps[i].From = s.From.String()
		} else {
			d.Steps[i].Op = "external"
		}
		if !s.NotRun {
			d.Steps[i].Exit = &s.Exit
		}
	}
	return d
}

// ArrivalDoc is an executed order as JSON.
type ArrivalDoc struct {
	What              string     `json:"what"`
	Transaction       chain.Hash `json:"transaction"`
	LT                uint64     `json:"lt"`
	Time              string     `json:"time"`
	ExitCode          int32      `json:"exit_code"`
	WalletTransaction chain.Hash `json:"wallet_transaction"`
	Block             BlockDoc   `json:"block"`
}

// NewArrivalDocs describes executed orders.
func NewArrivalDocs(arrivals []Arrival) []ArrivalDoc {
	out := make([]ArrivalDoc, len(arrivals))
	for i, a := range arrivals {
		exit, _ := a.Transaction.Exit()
		out[i] = ArrivalDoc{
			What: a.Order.What, Transaction: a.Transaction.Hash, LT: a.Transaction.LT, ExitCode: exit,
			Time: a.Transaction.Time.UTC().Format(time.RFC3339), WalletTransaction: a.Wallet.Hash, Block: NewBlockDoc(a.Block),
		}
	}
	return out
}

// OutcomeDoc is a job's outcome as JSON: what would happen or happened, and the receipt.
type OutcomeDoc struct {
	Contract  AddressDoc    `json:"contract"`
	Network   string        `json:"network"`
	Block     BlockDoc      `json:"block"`
	Version   uint32        `json:"version"`
	Sender    AddressDoc    `json:"sender"`
	Changes   []ChangeDoc   `json:"changes"`
	Messages  []MessageDoc  `json:"messages"`
	Rehearsal *RehearsalDoc `json:"rehearsal,omitempty"`
	// Proposals are what the messages to a governor become or became.
	Proposals []ProposalDoc `json:"proposals,omitempty"`
	Receipt   *ReceiptDoc   `json:"receipt,omitempty"`
}

// ProposalDoc is an open proposal as JSON.
type ProposalDoc struct {
	ID        uint64 `json:"id"`
	BodyHash  string `json:"body_hash"`
	NotBefore string `json:"not_before"`
	Expires   string `json:"expires"`
	Approvals int    `json:"approvals"`
	Needed    int    `json:"needed"`
}

// NewProposalDoc describes a proposal under a governor's rules.
func NewProposalDoc(p bind.Proposal, r bind.Rules) ProposalDoc {
	d := ProposalDoc{ID: p.ID, NotBefore: unix(p.NotBefore), Expires: unix(p.Expires), Approvals: len(p.Approvals), Needed: int(r.Threshold)}
	if p.Body != nil {
		d.BodyHash = hex.EncodeToString(p.Body.Hash())
	}
	return d
}

func unix(at uint32) string { return time.Unix(int64(at), 0).UTC().Format(time.RFC3339) }

// ReceiptDoc is what was executed and proven.
type ReceiptDoc struct {
	Orders []ArrivalDoc `json:"orders"`
	// Valid tells that every change is in the proven state of Block.
	Valid bool     `json:"valid"`
	Block BlockDoc `json:"block"`
}

// Document gives the outcome for JSON.
func (o *Outcome) Document() (OutcomeDoc, error) {
	d := OutcomeDoc{
		Contract: NewAddressDoc(o.Before.Root), Network: o.Site.ID.String(), Block: NewBlockDoc(o.Before.Block),
		Version: o.Before.Version, Sender: NewAddressDoc(o.sender()),
		Changes: make([]ChangeDoc, len(o.Changes)), Messages: make([]MessageDoc, len(o.Orders)),
		Rehearsal: NewRehearsalDoc(o.Rehearsal, o.Orders),
	}
	for _, p := range o.Proposals {
		d.Proposals = append(d.Proposals, NewProposalDoc(p, o.Governor.Rules))
	}
	for i, c := range o.Changes {
		d.Changes[i] = ChangeDoc{c.Action(), c.doc()}
	}
	for i, order := range o.Orders {
		var err error
		if d.Messages[i], err = NewMessageDoc(order); err != nil {
			return d, err
		}
	}
	if len(o.Arrivals) > 0 {
		d.Receipt = &ReceiptDoc{Orders: NewArrivalDocs(o.Arrivals), Valid: o.Valid, Block: NewBlockDoc(o.ValidAt)}
	}
	return d, nil
}

// sender is whom the orders are for; before that is known, the root's owner.
func (o *Outcome) sender() *address.Address {
	if o.Principal == nil {
		return o.Before.Owner
	}
	return o.Principal.Address
}
