package bind

import (
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// The agreement's operation codes: CRC-32 of "cocoon.agreement.<name>" (contracts.md section 13).
const (
	OpAgreementPrice         Op = 0xc7225aa7
	OpAgreementAccept        Op = 0x04905b77
	OpAgreementAcceptSigned  Op = 0xf66a9996
	OpAgreementFund          Op = 0x5b807e9a
	OpAgreementReport        Op = 0x1e5aece7
	OpAgreementWithdraw      Op = 0x4c88e251
	OpAgreementCancel        Op = 0xe1a67331
	OpAgreementExpire        Op = 0x9b01fc97
	OpAgreementUpdateNodeKey Op = 0xedaffefc
)

// The exit codes with which an agreement and a registry refuse.
const (
	ExitWrongState     = 1060
	ExitDeadlinePassed = 1061
	ExitDeadlineAhead  = 1062
	ExitAmount         = 1063
	ExitPriceSource    = 1064
)

func agreementOperations() []Operation {
	return []Operation{
		{OpAgreementPrice, "agreement_price", ContractAgreement, func() Message { return new(AgreementPrice) }},
		{OpAgreementAccept, "agreement_accept", ContractAgreement, func() Message { return new(AgreementAccept) }},
		{OpAgreementAcceptSigned, "agreement_accept_signed", ContractAgreement, func() Message { return new(AgreementAcceptSigned) }},
		{OpAgreementFund, "agreement_fund", ContractAgreement, func() Message { return new(AgreementFund) }},
		{OpAgreementReport, "agreement_report_signed", ContractAgreement, func() Message { return new(AgreementReport) }},
		{OpAgreementWithdraw, "agreement_withdraw", ContractAgreement, func() Message { return new(AgreementWithdraw) }},
		{OpAgreementCancel, "agreement_cancel", ContractAgreement, func() Message { return new(AgreementCancel) }},
		{OpAgreementExpire, "agreement_expire", ContractAgreement, func() Message { return new(AgreementExpire) }},
		{OpAgreementUpdateNodeKey, "agreement_update_node_key", ContractAgreement, func() Message { return new(AgreementUpdateNodeKey) }},
	}
}

// AgreementPrice gives an agreement its price: signed over PricePayload, or sent by the registry with no signature.
type AgreementPrice struct{ Signed }

// Op is the operation code.
func (*AgreementPrice) Op() Op { return OpAgreementPrice }

// PricePayload is what the source of a price says.
type PricePayload struct {
	Agreement  *address.Address
	Farm       uint64
	Farmer     *address.Address // gets the money
	Hourly     Nano
	ValidUntil uint32 // Unix time
	Version    uint32
	FarmKey    Hash // accepts for the farm; zero for none
	TermsHash  Hash
}

func (p *PricePayload) fields(c *codec) {
	c.constant("op", 32, uint64(OpAgreementPrice))
	c.addr("agreement", &p.Agreement)
	number64(c, "farm", 64, &p.Farm)
	c.addr("farmer", &p.Farmer)
	c.amount("hourly", &p.Hourly)
	number64(c, "valid_until", 32, &p.ValidUntil)
	number64(c, "version", 32, &p.Version)
	c.sub("bound", (*priceBound)(p))
}

type priceBound PricePayload

func (p *priceBound) fields(c *codec) {
	c.hash("farm_key", &p.FarmKey)
	c.hash("terms_hash", &p.TermsHash)
}

// ParsePricePayload reads what a price says.
func ParsePricePayload(from *cell.Cell) (PricePayload, error) {
	return parsePayload[PricePayload]("price payload", from)
}

// AgreementAccept accepts by the farmer's address.
type AgreementAccept query

// Op is the operation code.
func (*AgreementAccept) Op() Op { return OpAgreementAccept }

func (m *AgreementAccept) fields(c *codec) { (*query)(m).fields(c) }

// AgreementAcceptSigned accepts by the farm's key, over AcceptPayload.
type AgreementAcceptSigned struct{ Signed }

// Op is the operation code.
func (*AgreementAcceptSigned) Op() Op { return OpAgreementAcceptSigned }

// AcceptPayload is what a farm's key signs to accept.
type AcceptPayload struct {
	Agreement  *address.Address
	Agreed     Hash   // AgreementStorage.Agreed
	ValidUntil uint32 // Unix time
}

func (p *AcceptPayload) fields(c *codec) {
	c.constant("op", 32, uint64(OpAgreementAcceptSigned))
	c.addr("agreement", &p.Agreement)
	c.hash("agreed", &p.Agreed)
	number64(c, "valid_until", 32, &p.ValidUntil)
}

// ParseAcceptPayload reads what a farm's key signs to accept.
func ParseAcceptPayload(from *cell.Cell) (AcceptPayload, error) {
	return parsePayload[AcceptPayload]("accept payload", from)
}

// AgreementFund adds to the deposit, by anyone; the value must exceed the amount by 0.1 TON, and the first by the reserve
// too.
type AgreementFund struct {
	QueryID uint64
	Amount  Nano
	Excess  *address.Address
}

// Op is the operation code.
func (*AgreementFund) Op() Op { return OpAgreementFund }

func (m *AgreementFund) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.amount("amount", &m.Amount)
	c.addr("send_excesses_to", &m.Excess)
}

// AgreementReport brings the node's report, signed over ReportPayload; anyone may send it, so the node needs no coins.
type AgreementReport struct{ Signed }

// Op is the operation code.
func (*AgreementReport) Op() Op { return OpAgreementReport }

// DeployResult is how a deployment ended.
type DeployResult uint8

// Results of a deployment.
const (
	DeployFailed DeployResult = iota
	Deployed
)

// ReportPayload is what a node signs after it has deployed a workload, or could not.
type ReportPayload struct {
	Agreement  *address.Address
	Result     DeployResult
	DeployedAt uint32 // Unix time, for the record: money is counted from the block's time
	LogHash    Hash
}

func (p *ReportPayload) fields(c *codec) {
	c.constant("op", 32, uint64(OpAgreementReport))
	c.addr("agreement", &p.Agreement)
	number64(c, "result", 8, &p.Result)
	number64(c, "deployed_at", 32, &p.DeployedAt)
	c.hash("log_hash", &p.LogHash)
}

// ParseReportPayload reads a node's report.
func ParseReportPayload(from *cell.Cell) (ReportPayload, error) {
	return parsePayload[ReportPayload]("report payload", from)
}

// AgreementWithdraw pays the farmer what is earned; anyone may send it.
type AgreementWithdraw request

// Op is the operation code.
func (*AgreementWithdraw) Op() Op { return OpAgreementWithdraw }

func (m *AgreementWithdraw) fields(c *codec) { (*request)(m).fields(c) }

// AgreementCancel ends the agreement, by the user.
type AgreementCancel request

// Op is the operation code.
func (*AgreementCancel) Op() Op { return OpAgreementCancel }

func (m *AgreementCancel) fields(c *codec) { (*request)(m).fields(c) }

// AgreementExpire ends an agreement whose deadline is over; anyone may send it.
type AgreementExpire request

// Op is the operation code.
func (*AgreementExpire) Op() Op { return OpAgreementExpire }

func (m *AgreementExpire) fields(c *codec) { (*request)(m).fields(c) }

// AgreementUpdateNodeKey names another node before the workload runs, by the registry.
type AgreementUpdateNodeKey struct {
	QueryID uint64
	Farm    uint64
	Key     Hash
	Excess  *address.Address
}

// Op is the operation code.
func (*AgreementUpdateNodeKey) Op() Op { return OpAgreementUpdateNodeKey }

func (m *AgreementUpdateNodeKey) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "farm", 64, &m.Farm)
	c.hash("key", &m.Key)
	c.addr("send_excesses_to", &m.Excess)
}
