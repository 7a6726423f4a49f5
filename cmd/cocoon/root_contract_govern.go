package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/host/publish"
)

const governValue bind.Nano = 5e8

// rootGovern are the verbs that carry a governor's proposal on.
func rootGovern() []orderVerb {
	return []orderVerb{
		{
			name: "approve", short: "Approve a proposal of the governor that owns the root", root: true, flags: proposalFlag, build: approveProposal,
			example: "  cocoon root approve --proposal 3" + chainExample + "\n" +
				"  cocoon root approve --proposal 3 --body-hash 64HEX" + chainExample,
		},
		{
			name: "execute", short: "Carry out a proposal that is approved and old enough; anyone may", root: true, flags: proposalFlag, build: executeProposal,
			example: "  cocoon root execute --proposal 3" + chainExample + "\n" +
				"  cocoon root execute --proposal 3 --from EQ...",
		},
	}
}

func proposalFlag(f *pflag.FlagSet, in *orderInput) {
	in.count(f, "proposal", 0, "number of the proposal")
	in.word(f, "body-hash", "refuse another body, 64 hex digits")
}

// proposal reads the governor and the proposal of the flags.
func (c *orderCase) proposal() (*bind.GovernorStorage, bind.Proposal, error) {
	g, err := c.site.Governor(c.ctx, c.root)
	if err != nil {
		return nil, bind.Proposal{}, err
	}
	id := *c.in.number["proposal"]
	p, ok := g.Proposal(id)
	if !ok {
		return nil, p, cli.Tag(cli.KindUsage, fmt.Errorf("--proposal: the governor has no open proposal %d", id), "\"cocoon root publish\" prints the number that it made")
	}
	if text := *c.in.text["body-hash"]; text != "" {
		want, err := hashOf("--body-hash", text)
		if err != nil {
			return nil, p, err
		}
		if got := bind.Hash(p.Body.Hash()); got != want {
			return nil, p, cli.Tag(cli.KindDifference, fmt.Errorf("proposal %d has body %x, not %x", id, got, want), "approve only what you have read")
		}
	}
	return g, p, nil
}

func approveProposal(c *orderCase) (*address.Address, orderMaker, error) {
	g, p, err := c.proposal()
	if err != nil {
		return nil, nil, err
	}
	member, err := c.site.Member(c.ctx, g.Rules.Approvers, c.signer, "approver")
	if err != nil {
		return nil, nil, err
	}
	return member.Address, func(*address.Address) ([]publish.Order, error) {
		return tell(fmt.Sprintf("approve proposal %d (%s)", p.ID, p.Kind), c.root.Owner, governValue,
			&bind.GovernorApprove{QueryID: c.query, Proposal: p.ID, BodyHash: bind.Hash(p.Body.Hash())})
	}, nil
}

func executeProposal(c *orderCase) (*address.Address, orderMaker, error) {
	g, p, err := c.proposal()
	if err != nil {
		return nil, nil, err
	}
	m, err := g.Execute(c.query, p.ID, uint32(c.site.Head.Time.Unix())) //nolint:gosec // TON's times are 32 bits wide
	if err != nil {
		return nil, nil, cli.Tag(cli.KindDifference, err, "wait, or gather the approvals that are missing")
	}
	return nil, func(*address.Address) ([]publish.Order, error) {
		return tell(fmt.Sprintf("execute proposal %d (%s)", p.ID, p.Kind), c.root.Owner, governValue, &m)
	}, nil
}
