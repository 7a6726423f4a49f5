// Code generated from schema.tl by tlgen. DO NOT EDIT.

package tl

import "cocoon/contracts/wire"

// AnyClientProxyConnectionAuth is a client.ProxyConnectionAuth: *ClientProxyConnectionAuthLong or *ClientProxyConnectionAuthShort.
type AnyClientProxyConnectionAuth interface {
	Object
	isAnyClientProxyConnectionAuth()
}

func (*ClientProxyConnectionAuthLong) isAnyClientProxyConnectionAuth() {}

func (*ClientProxyConnectionAuthShort) isAnyClientProxyConnectionAuth() {}

func decodeAnyClientProxyConnectionAuth(c *wire.Cursor) AnyClientProxyConnectionAuth {
	id := c.Uint()
	switch id {
	case 0x417bf016:
		v := new(ClientProxyConnectionAuthLong)
		v.decode(c)
		return v
	case 0xd6ffc5af:
		v := new(ClientProxyConnectionAuthShort)
		v.decode(c)
		return v
	}
	c.Fail("constructor %08x is no client.ProxyConnectionAuth", id)
	return nil
}

// AnyProxySignedPayment is a proxy.SignedPayment: *ProxySignedPayment or *ProxySignedPaymentEmpty.
type AnyProxySignedPayment interface {
	Object
	isAnyProxySignedPayment()
}

func (*ProxySignedPayment) isAnyProxySignedPayment() {}

func (*ProxySignedPaymentEmpty) isAnyProxySignedPayment() {}

func decodeAnyProxySignedPayment(c *wire.Cursor) AnyProxySignedPayment {
	id := c.Uint()
	switch id {
	case 0x02998182:
		v := new(ProxySignedPayment)
		v.decode(c)
		return v
	case 0xb347ce64:
		v := new(ProxySignedPaymentEmpty)
		v.decode(c)
		return v
	}
	c.Fail("constructor %08x is no proxy.SignedPayment", id)
	return nil
}

// AnyRootConfigConfig is a rootConfig.Config: *RootConfigConfigV7 or *RootConfigPseudo.
type AnyRootConfigConfig interface {
	Object
	isAnyRootConfigConfig()
}

func (*RootConfigConfigV7) isAnyRootConfigConfig() {}

func (*RootConfigPseudo) isAnyRootConfigConfig() {}

func decodeAnyRootConfigConfig(c *wire.Cursor) AnyRootConfigConfig {
	id := c.Uint()
	switch id {
	case 0xc51207cb:
		v := new(RootConfigConfigV7)
		v.decode(c)
		return v
	case 0xd0035db6:
		v := new(RootConfigPseudo)
		v.decode(c)
		return v
	}
	c.Fail("constructor %08x is no rootConfig.Config", id)
	return nil
}

// ClientAuthorizationWithProxyFailed is the constructor client.authorizationWithProxyFailed, of type client.AuthorizationWithProxy.
type ClientAuthorizationWithProxyFailed struct {
	ErrorCode int32
	Error     string
}

// TLID is the constructor's id.
func (*ClientAuthorizationWithProxyFailed) TLID() uint32 { return 0x60551c96 }

// TLName is the name in the schema.
func (*ClientAuthorizationWithProxyFailed) TLName() string {
	return "client.authorizationWithProxyFailed"
}

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientAuthorizationWithProxyFailed) TLType() string { return "client.AuthorizationWithProxy" }

// Size is how many bytes Append appends.
func (v *ClientAuthorizationWithProxyFailed) Size() int { return 4 + v.bareSize() }

func (v *ClientAuthorizationWithProxyFailed) bareSize() int { return 4 + wire.BytesSize(len(v.Error)) }

// Append writes the value with its id.
func (v *ClientAuthorizationWithProxyFailed) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x60551c96))
}

func (v *ClientAuthorizationWithProxyFailed) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.ErrorCode)
	dst = wire.AppendBytes(dst, v.Error)
	return dst
}

func (v *ClientAuthorizationWithProxyFailed) decode(c *wire.Cursor) {
	v.ErrorCode = c.Int()
	v.Error = readString(c)
}

// ClientAuthorizationWithProxySuccess is the constructor client.authorizationWithProxySuccess, of type client.AuthorizationWithProxy.
type ClientAuthorizationWithProxySuccess struct {
	SignedPayment       AnyProxySignedPayment
	TokensCommittedToDB int64
	MaxTokens           int64
}

// TLID is the constructor's id.
func (*ClientAuthorizationWithProxySuccess) TLID() uint32 { return 0x75d5ac34 }

// TLName is the name in the schema.
func (*ClientAuthorizationWithProxySuccess) TLName() string {
	return "client.authorizationWithProxySuccess"
}

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientAuthorizationWithProxySuccess) TLType() string { return "client.AuthorizationWithProxy" }

// Size is how many bytes Append appends.
func (v *ClientAuthorizationWithProxySuccess) Size() int { return 4 + v.bareSize() }

func (v *ClientAuthorizationWithProxySuccess) bareSize() int { return 16 + v.SignedPayment.Size() }

// Append writes the value with its id.
func (v *ClientAuthorizationWithProxySuccess) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x75d5ac34))
}

func (v *ClientAuthorizationWithProxySuccess) bare(dst []byte) []byte {
	dst = v.SignedPayment.Append(dst)
	dst = wire.AppendLong(dst, v.TokensCommittedToDB)
	dst = wire.AppendLong(dst, v.MaxTokens)
	return dst
}

func (v *ClientAuthorizationWithProxySuccess) decode(c *wire.Cursor) {
	v.SignedPayment = decodeAnyProxySignedPayment(c)
	v.TokensCommittedToDB = c.Long()
	v.MaxTokens = c.Long()
}

// ClientConnectedToProxy is the constructor client.connectedToProxy, of type client.ConnectedToProxy.
type ClientConnectedToProxy struct {
	Params          ProxyParams
	ClientSCAddress string
	Auth            AnyClientProxyConnectionAuth
	SignedPayment   AnyProxySignedPayment
}

// TLID is the constructor's id.
func (*ClientConnectedToProxy) TLID() uint32 { return 0x95317ad1 }

// TLName is the name in the schema.
func (*ClientConnectedToProxy) TLName() string { return "client.connectedToProxy" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientConnectedToProxy) TLType() string { return "client.ConnectedToProxy" }

// Size is how many bytes Append appends.
func (v *ClientConnectedToProxy) Size() int { return 4 + v.bareSize() }

func (v *ClientConnectedToProxy) bareSize() int {
	return v.Params.bareSize() + wire.BytesSize(len(v.ClientSCAddress)) + v.Auth.Size() + v.SignedPayment.Size()
}

// Append writes the value with its id.
func (v *ClientConnectedToProxy) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x95317ad1))
}

func (v *ClientConnectedToProxy) bare(dst []byte) []byte {
	dst = v.Params.bare(dst)
	dst = wire.AppendBytes(dst, v.ClientSCAddress)
	dst = v.Auth.Append(dst)
	dst = v.SignedPayment.Append(dst)
	return dst
}

func (v *ClientConnectedToProxy) decode(c *wire.Cursor) {
	v.Params.decode(c)
	v.ClientSCAddress = readString(c)
	v.Auth = decodeAnyClientProxyConnectionAuth(c)
	v.SignedPayment = decodeAnyProxySignedPayment(c)
}

// ClientParams is the constructor client.params, of type client.Params.
type ClientParams struct {
	ClientOwnerAddress string
	IsTest             *bool
	MinProtoVersion    *int32
	MaxProtoVersion    *int32
}

// TLID is the constructor's id.
func (*ClientParams) TLID() uint32 { return 0x40fdca64 }

// TLName is the name in the schema.
func (*ClientParams) TLName() string { return "client.params" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientParams) TLType() string { return "client.Params" }

// Size is how many bytes Append appends.
func (v *ClientParams) Size() int { return 4 + v.bareSize() }

func (v *ClientParams) bareSize() int {
	n := 4 + wire.BytesSize(len(v.ClientOwnerAddress))
	if v.IsTest != nil {
		n += 4
	}
	if v.MinProtoVersion != nil || v.MaxProtoVersion != nil {
		n += 8
	}
	return n
}

// Append writes the value with its id.
func (v *ClientParams) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x40fdca64))
}

func (v *ClientParams) bare(dst []byte) []byte {
	var flags uint32
	if v.IsTest != nil {
		flags |= 1 << 0
	}
	if v.MinProtoVersion != nil || v.MaxProtoVersion != nil {
		flags |= 1 << 1
	}
	dst = wire.AppendUint(dst, flags)
	dst = wire.AppendBytes(dst, v.ClientOwnerAddress)
	if flags&(1<<0) != 0 {
		dst = wire.AppendBool(dst, orZero(v.IsTest))
	}
	if flags&(1<<1) != 0 {
		dst = wire.AppendInt(dst, orZero(v.MinProtoVersion))
	}
	if flags&(1<<1) != 0 {
		dst = wire.AppendInt(dst, orZero(v.MaxProtoVersion))
	}
	return dst
}

func (v *ClientParams) decode(c *wire.Cursor) {
	flags := c.Flags(0x3)
	v.ClientOwnerAddress = readString(c)
	if flags&(1<<0) != 0 {
		v.IsTest = new(bool)
		*v.IsTest = c.Bool()
	}
	if flags&(1<<1) != 0 {
		var all struct {
			MinProtoVersion int32
			MaxProtoVersion int32
		}
		all.MinProtoVersion = c.Int()
		v.MinProtoVersion = &all.MinProtoVersion
		all.MaxProtoVersion = c.Int()
		v.MaxProtoVersion = &all.MaxProtoVersion
	}
}

// ClientPaymentStatus is the constructor client.paymentStatus, of type client.PaymentStatus.
type ClientPaymentStatus struct {
	SignedPayment AnyProxySignedPayment
	DBTokens      int64
	MaxTokens     int64
}

// TLID is the constructor's id.
func (*ClientPaymentStatus) TLID() uint32 { return 0xaa8a0ecc }

// TLName is the name in the schema.
func (*ClientPaymentStatus) TLName() string { return "client.paymentStatus" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientPaymentStatus) TLType() string { return "client.PaymentStatus" }

// Size is how many bytes Append appends.
func (v *ClientPaymentStatus) Size() int { return 4 + v.bareSize() }

func (v *ClientPaymentStatus) bareSize() int { return 16 + v.SignedPayment.Size() }

// Append writes the value with its id.
func (v *ClientPaymentStatus) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xaa8a0ecc))
}

func (v *ClientPaymentStatus) bare(dst []byte) []byte {
	dst = v.SignedPayment.Append(dst)
	dst = wire.AppendLong(dst, v.DBTokens)
	dst = wire.AppendLong(dst, v.MaxTokens)
	return dst
}

func (v *ClientPaymentStatus) decode(c *wire.Cursor) {
	v.SignedPayment = decodeAnyProxySignedPayment(c)
	v.DBTokens = c.Long()
	v.MaxTokens = c.Long()
}

// ClientProxyConnectionAuthLong is the constructor client.proxyConnectionAuthLong, of type client.ProxyConnectionAuth.
type ClientProxyConnectionAuthLong struct {
	Nonce int64
}

// TLID is the constructor's id.
func (*ClientProxyConnectionAuthLong) TLID() uint32 { return 0x417bf016 }

// TLName is the name in the schema.
func (*ClientProxyConnectionAuthLong) TLName() string { return "client.proxyConnectionAuthLong" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientProxyConnectionAuthLong) TLType() string { return "client.ProxyConnectionAuth" }

// Size is how many bytes Append appends.
func (v *ClientProxyConnectionAuthLong) Size() int { return 4 + v.bareSize() }

func (*ClientProxyConnectionAuthLong) bareSize() int { return 8 }

// Append writes the value with its id.
func (v *ClientProxyConnectionAuthLong) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x417bf016))
}

func (v *ClientProxyConnectionAuthLong) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.Nonce)
	return dst
}

func (v *ClientProxyConnectionAuthLong) decode(c *wire.Cursor) {
	v.Nonce = c.Long()
}

// ClientProxyConnectionAuthShort is the constructor client.proxyConnectionAuthShort, of type client.ProxyConnectionAuth.
type ClientProxyConnectionAuthShort struct {
	SecretHash [32]byte
	Nonce      int64
}

// TLID is the constructor's id.
func (*ClientProxyConnectionAuthShort) TLID() uint32 { return 0xd6ffc5af }

// TLName is the name in the schema.
func (*ClientProxyConnectionAuthShort) TLName() string { return "client.proxyConnectionAuthShort" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientProxyConnectionAuthShort) TLType() string { return "client.ProxyConnectionAuth" }

// Size is how many bytes Append appends.
func (v *ClientProxyConnectionAuthShort) Size() int { return 4 + v.bareSize() }

func (*ClientProxyConnectionAuthShort) bareSize() int { return 40 }

// Append writes the value with its id.
func (v *ClientProxyConnectionAuthShort) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xd6ffc5af))
}

func (v *ClientProxyConnectionAuthShort) bare(dst []byte) []byte {
	dst = append(dst, v.SecretHash[:]...)
	dst = wire.AppendLong(dst, v.Nonce)
	return dst
}

func (v *ClientProxyConnectionAuthShort) decode(c *wire.Cursor) {
	v.SecretHash = int256(c)
	v.Nonce = c.Long()
}

// ClientQueryAnswer is the constructor client.queryAnswer, of type client.QueryAnswer.
type ClientQueryAnswer struct {
	Answer            []byte
	IsCompleted       bool
	RequestID         [32]byte
	RequestTokensUsed TokensUsed
}

// TLID is the constructor's id.
func (*ClientQueryAnswer) TLID() uint32 { return 0x9b943922 }

// TLName is the name in the schema.
func (*ClientQueryAnswer) TLName() string { return "client.queryAnswer" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientQueryAnswer) TLType() string { return "client.QueryAnswer" }

// Size is how many bytes Append appends.
func (v *ClientQueryAnswer) Size() int { return 4 + v.bareSize() }

func (v *ClientQueryAnswer) bareSize() int { return 76 + wire.BytesSize(len(v.Answer)) }

// Append writes the value with its id.
func (v *ClientQueryAnswer) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x9b943922))
}

func (v *ClientQueryAnswer) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Answer)
	dst = wire.AppendBool(dst, v.IsCompleted)
	dst = append(dst, v.RequestID[:]...)
	dst = v.RequestTokensUsed.bare(dst)
	return dst
}

func (v *ClientQueryAnswer) decode(c *wire.Cursor) {
	v.Answer = c.Own(MaxBytes)
	v.IsCompleted = c.Bool()
	v.RequestID = int256(c)
	v.RequestTokensUsed.decode(c)
}

// ClientQueryAnswerError is the constructor client.queryAnswerError, of type client.QueryAnswer.
type ClientQueryAnswerError struct {
	ErrorCode         int32
	Error             string
	RequestID         [32]byte
	RequestTokensUsed TokensUsed
}

// TLID is the constructor's id.
func (*ClientQueryAnswerError) TLID() uint32 { return 0x6d60569a }

// TLName is the name in the schema.
func (*ClientQueryAnswerError) TLName() string { return "client.queryAnswerError" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientQueryAnswerError) TLType() string { return "client.QueryAnswer" }

// Size is how many bytes Append appends.
func (v *ClientQueryAnswerError) Size() int { return 4 + v.bareSize() }

func (v *ClientQueryAnswerError) bareSize() int { return 76 + wire.BytesSize(len(v.Error)) }

// Append writes the value with its id.
func (v *ClientQueryAnswerError) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x6d60569a))
}

func (v *ClientQueryAnswerError) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.ErrorCode)
	dst = wire.AppendBytes(dst, v.Error)
	dst = append(dst, v.RequestID[:]...)
	dst = v.RequestTokensUsed.bare(dst)
	return dst
}

func (v *ClientQueryAnswerError) decode(c *wire.Cursor) {
	v.ErrorCode = c.Int()
	v.Error = readString(c)
	v.RequestID = int256(c)
	v.RequestTokensUsed.decode(c)
}

// ClientQueryAnswerErrorEx is the constructor client.queryAnswerErrorEx, of type client.QueryAnswerEx.
type ClientQueryAnswerErrorEx struct {
	RequestID [32]byte
	ErrorCode int32
	Error     string
	FinalInfo *ClientQueryFinalInfo
}

// TLID is the constructor's id.
func (*ClientQueryAnswerErrorEx) TLID() uint32 { return 0x072562a8 }

// TLName is the name in the schema.
func (*ClientQueryAnswerErrorEx) TLName() string { return "client.queryAnswerErrorEx" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientQueryAnswerErrorEx) TLType() string { return "client.QueryAnswerEx" }

// Size is how many bytes Append appends.
func (v *ClientQueryAnswerErrorEx) Size() int { return 4 + v.bareSize() }

func (v *ClientQueryAnswerErrorEx) bareSize() int {
	n := 40 + wire.BytesSize(len(v.Error))
	if v.FinalInfo != nil {
		n += orNew(v.FinalInfo).bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *ClientQueryAnswerErrorEx) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x072562a8))
}

func (v *ClientQueryAnswerErrorEx) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = wire.AppendInt(dst, v.ErrorCode)
	dst = wire.AppendBytes(dst, v.Error)
	var flags uint32
	if v.FinalInfo != nil {
		flags |= 1 << 0
	}
	dst = wire.AppendUint(dst, flags)
	if flags&(1<<0) != 0 {
		x := orZero(v.FinalInfo)
		dst = x.bare(dst)
	}
	return dst
}

func (v *ClientQueryAnswerErrorEx) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.ErrorCode = c.Int()
	v.Error = readString(c)
	flags := c.Flags(0x1)
	if flags&(1<<0) != 0 {
		v.FinalInfo = new(ClientQueryFinalInfo)
		v.FinalInfo.decode(c)
	}
}

// ClientQueryAnswerEx is the constructor client.queryAnswerEx, of type client.QueryAnswerEx.
type ClientQueryAnswerEx struct {
	RequestID [32]byte
	Answer    []byte
	FinalInfo *ClientQueryFinalInfo
}

// TLID is the constructor's id.
func (*ClientQueryAnswerEx) TLID() uint32 { return 0xcd524720 }

// TLName is the name in the schema.
func (*ClientQueryAnswerEx) TLName() string { return "client.queryAnswerEx" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientQueryAnswerEx) TLType() string { return "client.QueryAnswerEx" }

// Size is how many bytes Append appends.
func (v *ClientQueryAnswerEx) Size() int { return 4 + v.bareSize() }

func (v *ClientQueryAnswerEx) bareSize() int {
	n := 36 + wire.BytesSize(len(v.Answer))
	if v.FinalInfo != nil {
		n += orNew(v.FinalInfo).bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *ClientQueryAnswerEx) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xcd524720))
}

func (v *ClientQueryAnswerEx) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = wire.AppendBytes(dst, v.Answer)
	var flags uint32
	if v.FinalInfo != nil {
		flags |= 1 << 0
	}
	dst = wire.AppendUint(dst, flags)
	if flags&(1<<0) != 0 {
		x := orZero(v.FinalInfo)
		dst = x.bare(dst)
	}
	return dst
}

func (v *ClientQueryAnswerEx) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.Answer = c.Own(MaxBytes)
	flags := c.Flags(0x1)
	if flags&(1<<0) != 0 {
		v.FinalInfo = new(ClientQueryFinalInfo)
		v.FinalInfo.decode(c)
	}
}

// ClientQueryAnswerPart is the constructor client.queryAnswerPart, of type client.QueryAnswerPart.
type ClientQueryAnswerPart struct {
	Answer            []byte
	IsCompleted       bool
	RequestID         [32]byte
	RequestTokensUsed TokensUsed
}

// TLID is the constructor's id.
func (*ClientQueryAnswerPart) TLID() uint32 { return 0xb765de4c }

// TLName is the name in the schema.
func (*ClientQueryAnswerPart) TLName() string { return "client.queryAnswerPart" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientQueryAnswerPart) TLType() string { return "client.QueryAnswerPart" }

// Size is how many bytes Append appends.
func (v *ClientQueryAnswerPart) Size() int { return 4 + v.bareSize() }

func (v *ClientQueryAnswerPart) bareSize() int { return 76 + wire.BytesSize(len(v.Answer)) }

// Append writes the value with its id.
func (v *ClientQueryAnswerPart) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xb765de4c))
}

func (v *ClientQueryAnswerPart) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Answer)
	dst = wire.AppendBool(dst, v.IsCompleted)
	dst = append(dst, v.RequestID[:]...)
	dst = v.RequestTokensUsed.bare(dst)
	return dst
}

func (v *ClientQueryAnswerPart) decode(c *wire.Cursor) {
	v.Answer = c.Own(MaxBytes)
	v.IsCompleted = c.Bool()
	v.RequestID = int256(c)
	v.RequestTokensUsed.decode(c)
}

// ClientQueryAnswerPartError is the constructor client.queryAnswerPartError, of type client.QueryAnswerPart.
type ClientQueryAnswerPartError struct {
	ErrorCode         int32
	Error             string
	RequestID         [32]byte
	RequestTokensUsed TokensUsed
}

// TLID is the constructor's id.
func (*ClientQueryAnswerPartError) TLID() uint32 { return 0xd790a022 }

// TLName is the name in the schema.
func (*ClientQueryAnswerPartError) TLName() string { return "client.queryAnswerPartError" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientQueryAnswerPartError) TLType() string { return "client.QueryAnswerPart" }

// Size is how many bytes Append appends.
func (v *ClientQueryAnswerPartError) Size() int { return 4 + v.bareSize() }

func (v *ClientQueryAnswerPartError) bareSize() int { return 76 + wire.BytesSize(len(v.Error)) }

// Append writes the value with its id.
func (v *ClientQueryAnswerPartError) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xd790a022))
}

func (v *ClientQueryAnswerPartError) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.ErrorCode)
	dst = wire.AppendBytes(dst, v.Error)
	dst = append(dst, v.RequestID[:]...)
	dst = v.RequestTokensUsed.bare(dst)
	return dst
}

func (v *ClientQueryAnswerPartError) decode(c *wire.Cursor) {
	v.ErrorCode = c.Int()
	v.Error = readString(c)
	v.RequestID = int256(c)
	v.RequestTokensUsed.decode(c)
}

// ClientQueryAnswerPartEx is the constructor client.queryAnswerPartEx, of type client.QueryAnswerEx.
type ClientQueryAnswerPartEx struct {
	RequestID [32]byte
	Answer    []byte
	FinalInfo *ClientQueryFinalInfo
}

// TLID is the constructor's id.
func (*ClientQueryAnswerPartEx) TLID() uint32 { return 0xc07bfaec }

// TLName is the name in the schema.
func (*ClientQueryAnswerPartEx) TLName() string { return "client.queryAnswerPartEx" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientQueryAnswerPartEx) TLType() string { return "client.QueryAnswerEx" }

// Size is how many bytes Append appends.
func (v *ClientQueryAnswerPartEx) Size() int { return 4 + v.bareSize() }

func (v *ClientQueryAnswerPartEx) bareSize() int {
	n := 36 + wire.BytesSize(len(v.Answer))
	if v.FinalInfo != nil {
		n += orNew(v.FinalInfo).bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *ClientQueryAnswerPartEx) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xc07bfaec))
}

func (v *ClientQueryAnswerPartEx) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = wire.AppendBytes(dst, v.Answer)
	var flags uint32
	if v.FinalInfo != nil {
		flags |= 1 << 0
	}
	dst = wire.AppendUint(dst, flags)
	if flags&(1<<0) != 0 {
		x := orZero(v.FinalInfo)
		dst = x.bare(dst)
	}
	return dst
}

func (v *ClientQueryAnswerPartEx) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.Answer = c.Own(MaxBytes)
	flags := c.Flags(0x1)
	if flags&(1<<0) != 0 {
		v.FinalInfo = new(ClientQueryFinalInfo)
		v.FinalInfo.decode(c)
	}
}

// ClientQueryFinalInfo is the constructor client.queryFinalInfo, of type client.QueryFinalInfo.
type ClientQueryFinalInfo struct {
	TokensUsed      TokensUsed
	WorkerDebug     *string
	ProxyDebug      *string
	ProxyStartTime  *float64
	ProxyEndTime    *float64
	WorkerStartTime *float64
	WorkerEndTime   *float64
}

// TLID is the constructor's id.
func (*ClientQueryFinalInfo) TLID() uint32 { return 0x69a452f0 }

// TLName is the name in the schema.
func (*ClientQueryFinalInfo) TLName() string { return "client.queryFinalInfo" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientQueryFinalInfo) TLType() string { return "client.QueryFinalInfo" }

// Size is how many bytes Append appends.
func (v *ClientQueryFinalInfo) Size() int { return 4 + v.bareSize() }

func (v *ClientQueryFinalInfo) bareSize() int {
	n := 44
	if v.WorkerDebug != nil || v.ProxyDebug != nil {
		n += wire.BytesSize(len(orZero(v.WorkerDebug))) + wire.BytesSize(len(orZero(v.ProxyDebug)))
	}
	if v.ProxyStartTime != nil || v.ProxyEndTime != nil || v.WorkerStartTime != nil || v.WorkerEndTime != nil {
		n += 32
	}
	return n
}

// Append writes the value with its id.
func (v *ClientQueryFinalInfo) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x69a452f0))
}

func (v *ClientQueryFinalInfo) bare(dst []byte) []byte {
	var flags uint32
	if v.WorkerDebug != nil || v.ProxyDebug != nil {
		flags |= 1 << 0
	}
	if v.ProxyStartTime != nil || v.ProxyEndTime != nil || v.WorkerStartTime != nil || v.WorkerEndTime != nil {
		flags |= 1 << 1
	}
	dst = wire.AppendUint(dst, flags)
	dst = v.TokensUsed.bare(dst)
	if flags&(1<<0) != 0 {
		dst = wire.AppendBytes(dst, orZero(v.WorkerDebug))
	}
	if flags&(1<<0) != 0 {
		dst = wire.AppendBytes(dst, orZero(v.ProxyDebug))
	}
	if flags&(1<<1) != 0 {
		dst = wire.AppendDouble(dst, orZero(v.ProxyStartTime))
	}
	if flags&(1<<1) != 0 {
		dst = wire.AppendDouble(dst, orZero(v.ProxyEndTime))
	}
	if flags&(1<<1) != 0 {
		dst = wire.AppendDouble(dst, orZero(v.WorkerStartTime))
	}
	if flags&(1<<1) != 0 {
		dst = wire.AppendDouble(dst, orZero(v.WorkerEndTime))
	}
	return dst
}

func (v *ClientQueryFinalInfo) decode(c *wire.Cursor) {
	flags := c.Flags(0x3)
	v.TokensUsed.decode(c)
	if flags&(1<<0) != 0 {
		var all struct {
			WorkerDebug string
			ProxyDebug  string
		}
		all.WorkerDebug = readString(c)
		v.WorkerDebug = &all.WorkerDebug
		all.ProxyDebug = readString(c)
		v.ProxyDebug = &all.ProxyDebug
	}
	if flags&(1<<1) != 0 {
		var all struct {
			ProxyStartTime  float64
			ProxyEndTime    float64
			WorkerStartTime float64
			WorkerEndTime   float64
		}
		all.ProxyStartTime = c.Double()
		v.ProxyStartTime = &all.ProxyStartTime
		all.ProxyEndTime = c.Double()
		v.ProxyEndTime = &all.ProxyEndTime
		all.WorkerStartTime = c.Double()
		v.WorkerStartTime = &all.WorkerStartTime
		all.WorkerEndTime = c.Double()
		v.WorkerEndTime = &all.WorkerEndTime
	}
}

// ClientRefund is the constructor client.refund, of type client.Refund.
type ClientRefund struct {
	Data []byte
}

// TLID is the constructor's id.
func (*ClientRefund) TLID() uint32 { return 0x83aabead }

// TLName is the name in the schema.
func (*ClientRefund) TLName() string { return "client.refund" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientRefund) TLType() string { return "client.Refund" }

// Size is how many bytes Append appends.
func (v *ClientRefund) Size() int { return 4 + v.bareSize() }

func (v *ClientRefund) bareSize() int { return wire.BytesSize(len(v.Data)) }

// Append writes the value with its id.
func (v *ClientRefund) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x83aabead))
}

func (v *ClientRefund) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Data)
	return dst
}

func (v *ClientRefund) decode(c *wire.Cursor) {
	v.Data = c.Own(MaxBytes)
}

// ClientRefundRejected is the constructor client.refundRejected, of type client.Refund.
type ClientRefundRejected struct {
	ActiveQueries int64
}

// TLID is the constructor's id.
func (*ClientRefundRejected) TLID() uint32 { return 0xcf9d9957 }

// TLName is the name in the schema.
func (*ClientRefundRejected) TLName() string { return "client.refundRejected" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientRefundRejected) TLType() string { return "client.Refund" }

// Size is how many bytes Append appends.
func (v *ClientRefundRejected) Size() int { return 4 + v.bareSize() }

func (*ClientRefundRejected) bareSize() int { return 8 }

// Append writes the value with its id.
func (v *ClientRefundRejected) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xcf9d9957))
}

func (v *ClientRefundRejected) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.ActiveQueries)
	return dst
}

func (v *ClientRefundRejected) decode(c *wire.Cursor) {
	v.ActiveQueries = c.Long()
}

// ClientWorkerInstanceV2 is the constructor client.workerInstanceV2, of type client.WorkerInstanceV2.
type ClientWorkerInstanceV2 struct {
	Coefficient       int32
	ActiveRequests    int32
	MaxActiveRequests int32
}

// TLID is the constructor's id.
func (*ClientWorkerInstanceV2) TLID() uint32 { return 0x3ea93d00 }

// TLName is the name in the schema.
func (*ClientWorkerInstanceV2) TLName() string { return "client.workerInstanceV2" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientWorkerInstanceV2) TLType() string { return "client.WorkerInstanceV2" }

// Size is how many bytes Append appends.
func (v *ClientWorkerInstanceV2) Size() int { return 4 + v.bareSize() }

func (*ClientWorkerInstanceV2) bareSize() int { return 16 }

// Append writes the value with its id.
func (v *ClientWorkerInstanceV2) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x3ea93d00))
}

func (v *ClientWorkerInstanceV2) bare(dst []byte) []byte {
	var flags uint32
	dst = wire.AppendUint(dst, flags)
	dst = wire.AppendInt(dst, v.Coefficient)
	dst = wire.AppendInt(dst, v.ActiveRequests)
	dst = wire.AppendInt(dst, v.MaxActiveRequests)
	return dst
}

func (v *ClientWorkerInstanceV2) decode(c *wire.Cursor) {
	_ = c.Flags(0x0)
	v.Coefficient = c.Int()
	v.ActiveRequests = c.Int()
	v.MaxActiveRequests = c.Int()
}

// ClientWorkerType is the constructor client.workerType, of type client.WorkerType.
type ClientWorkerType struct {
	Name                string
	ActiveWorkers       int32
	CoefficientMin      int32
	CoefficientBucket50 int32
	CoefficientMax      int32
}

// TLID is the constructor's id.
func (*ClientWorkerType) TLID() uint32 { return 0x8210e21c }

// TLName is the name in the schema.
func (*ClientWorkerType) TLName() string { return "client.workerType" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientWorkerType) TLType() string { return "client.WorkerType" }

// Size is how many bytes Append appends.
func (v *ClientWorkerType) Size() int { return 4 + v.bareSize() }

func (v *ClientWorkerType) bareSize() int { return 16 + wire.BytesSize(len(v.Name)) }

// Append writes the value with its id.
func (v *ClientWorkerType) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x8210e21c))
}

func (v *ClientWorkerType) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Name)
	dst = wire.AppendInt(dst, v.ActiveWorkers)
	dst = wire.AppendInt(dst, v.CoefficientMin)
	dst = wire.AppendInt(dst, v.CoefficientBucket50)
	dst = wire.AppendInt(dst, v.CoefficientMax)
	return dst
}

func (v *ClientWorkerType) decode(c *wire.Cursor) {
	v.Name = readString(c)
	v.ActiveWorkers = c.Int()
	v.CoefficientMin = c.Int()
	v.CoefficientBucket50 = c.Int()
	v.CoefficientMax = c.Int()
}

// ClientWorkerTypeV2 is the constructor client.workerTypeV2, of type client.WorkerTypeV2.
type ClientWorkerTypeV2 struct {
	Name    string
	Workers []ClientWorkerInstanceV2
}

// TLID is the constructor's id.
func (*ClientWorkerTypeV2) TLID() uint32 { return 0xb27d8197 }

// TLName is the name in the schema.
func (*ClientWorkerTypeV2) TLName() string { return "client.workerTypeV2" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientWorkerTypeV2) TLType() string { return "client.WorkerTypeV2" }

// Size is how many bytes Append appends.
func (v *ClientWorkerTypeV2) Size() int { return 4 + v.bareSize() }

func (v *ClientWorkerTypeV2) bareSize() int {
	return 4 + wire.BytesSize(len(v.Name)) + 16*len(v.Workers)
}

// Append writes the value with its id.
func (v *ClientWorkerTypeV2) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xb27d8197))
}

func (v *ClientWorkerTypeV2) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Name)
	dst = wire.AppendInt(dst, int32(len(v.Workers))) //nolint:gosec // bounded by the frame
	for i := range v.Workers {
		dst = v.Workers[i].bare(dst)
	}
	return dst
}

func (v *ClientWorkerTypeV2) decode(c *wire.Cursor) {
	v.Name = readString(c)
	v.Workers = make([]ClientWorkerInstanceV2, c.Count(16))
	for i := range v.Workers {
		v.Workers[i].decode(c)
	}
}

// ClientWorkerTypes is the constructor client.workerTypes, of type client.WorkerTypes.
type ClientWorkerTypes struct {
	Types []ClientWorkerType
}

// TLID is the constructor's id.
func (*ClientWorkerTypes) TLID() uint32 { return 0xf64e0e01 }

// TLName is the name in the schema.
func (*ClientWorkerTypes) TLName() string { return "client.workerTypes" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientWorkerTypes) TLType() string { return "client.WorkerTypes" }

// Size is how many bytes Append appends.
func (v *ClientWorkerTypes) Size() int { return 4 + v.bareSize() }

func (v *ClientWorkerTypes) bareSize() int {
	n := 4
	for i := range v.Types {
		n += v.Types[i].bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *ClientWorkerTypes) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xf64e0e01))
}

func (v *ClientWorkerTypes) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, int32(len(v.Types))) //nolint:gosec // bounded by the frame
	for i := range v.Types {
		dst = v.Types[i].bare(dst)
	}
	return dst
}

func (v *ClientWorkerTypes) decode(c *wire.Cursor) {
	v.Types = make([]ClientWorkerType, c.Count(20))
	for i := range v.Types {
		v.Types[i].decode(c)
	}
}

// ClientWorkerTypesV2 is the constructor client.workerTypesV2, of type client.WorkerTypesV2.
type ClientWorkerTypesV2 struct {
	Types []ClientWorkerTypeV2
}

// TLID is the constructor's id.
func (*ClientWorkerTypesV2) TLID() uint32 { return 0x0cf0dc67 }

// TLName is the name in the schema.
func (*ClientWorkerTypesV2) TLName() string { return "client.workerTypesV2" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientWorkerTypesV2) TLType() string { return "client.WorkerTypesV2" }

// Size is how many bytes Append appends.
func (v *ClientWorkerTypesV2) Size() int { return 4 + v.bareSize() }

func (v *ClientWorkerTypesV2) bareSize() int {
	n := 4
	for i := range v.Types {
		n += v.Types[i].bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *ClientWorkerTypesV2) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x0cf0dc67))
}

func (v *ClientWorkerTypesV2) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, int32(len(v.Types))) //nolint:gosec // bounded by the frame
	for i := range v.Types {
		dst = v.Types[i].bare(dst)
	}
	return dst
}

func (v *ClientWorkerTypesV2) decode(c *wire.Cursor) {
	v.Types = make([]ClientWorkerTypeV2, c.Count(8))
	for i := range v.Types {
		v.Types[i].decode(c)
	}
}

// HTTPHeader is the constructor http.header, of type http.Header.
type HTTPHeader struct {
	Name  string
	Value string
}

// TLID is the constructor's id.
func (*HTTPHeader) TLID() uint32 { return 0x8e9be511 }

// TLName is the name in the schema.
func (*HTTPHeader) TLName() string { return "http.header" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*HTTPHeader) TLType() string { return "http.Header" }

// Size is how many bytes Append appends.
func (v *HTTPHeader) Size() int { return 4 + v.bareSize() }

func (v *HTTPHeader) bareSize() int {
	return wire.BytesSize(len(v.Name)) + wire.BytesSize(len(v.Value))
}

// Append writes the value with its id.
func (v *HTTPHeader) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x8e9be511))
}

func (v *HTTPHeader) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Name)
	dst = wire.AppendBytes(dst, v.Value)
	return dst
}

func (v *HTTPHeader) decode(c *wire.Cursor) {
	v.Name = readString(c)
	v.Value = readString(c)
}

// HTTPResponse is the constructor http.response, of type http.Response.
type HTTPResponse struct {
	HTTPVersion string
	StatusCode  int32
	Reason      string
	Headers     []HTTPHeader
	Payload     []byte
}

// TLID is the constructor's id.
func (*HTTPResponse) TLID() uint32 { return 0x1cd0c42b }

// TLName is the name in the schema.
func (*HTTPResponse) TLName() string { return "http.response" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*HTTPResponse) TLType() string { return "http.Response" }

// Size is how many bytes Append appends.
func (v *HTTPResponse) Size() int { return 4 + v.bareSize() }

func (v *HTTPResponse) bareSize() int {
	n := 8 + wire.BytesSize(len(v.HTTPVersion)) + wire.BytesSize(len(v.Reason)) + wire.BytesSize(len(v.Payload))
	for i := range v.Headers {
		n += v.Headers[i].bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *HTTPResponse) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x1cd0c42b))
}

func (v *HTTPResponse) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.HTTPVersion)
	dst = wire.AppendInt(dst, v.StatusCode)
	dst = wire.AppendBytes(dst, v.Reason)
	dst = wire.AppendInt(dst, int32(len(v.Headers))) //nolint:gosec // bounded by the frame
	for i := range v.Headers {
		dst = v.Headers[i].bare(dst)
	}
	dst = wire.AppendBytes(dst, v.Payload)
	return dst
}

func (v *HTTPResponse) decode(c *wire.Cursor) {
	v.HTTPVersion = readString(c)
	v.StatusCode = c.Int()
	v.Reason = readString(c)
	v.Headers = make([]HTTPHeader, c.Count(8))
	for i := range v.Headers {
		v.Headers[i].decode(c)
	}
	v.Payload = c.Own(MaxBytes)
}

// KeyManagerPrivateKey is the constructor keyManager.privateKey, of type keyManager.PrivateKey.
type KeyManagerPrivateKey struct {
	ValidUntilUtime int32
	PrivateKey      [32]byte
}

// TLID is the constructor's id.
func (*KeyManagerPrivateKey) TLID() uint32 { return 0x60f4f8e7 }

// TLName is the name in the schema.
func (*KeyManagerPrivateKey) TLName() string { return "keyManager.privateKey" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyManagerPrivateKey) TLType() string { return "keyManager.PrivateKey" }

// Size is how many bytes Append appends.
func (v *KeyManagerPrivateKey) Size() int { return 4 + v.bareSize() }

func (*KeyManagerPrivateKey) bareSize() int { return 36 }

// Append writes the value with its id.
func (v *KeyManagerPrivateKey) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x60f4f8e7))
}

func (v *KeyManagerPrivateKey) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.ValidUntilUtime)
	dst = append(dst, v.PrivateKey[:]...)
	return dst
}

func (v *KeyManagerPrivateKey) decode(c *wire.Cursor) {
	v.ValidUntilUtime = c.Int()
	v.PrivateKey = int256(c)
}

// KeyManagerPrivateKeys is the constructor keyManager.privateKeys, of type keyManager.PrivateKeys.
type KeyManagerPrivateKeys struct {
	Keys []KeyManagerPrivateKey
}

// TLID is the constructor's id.
func (*KeyManagerPrivateKeys) TLID() uint32 { return 0x0ed66ce5 }

// TLName is the name in the schema.
func (*KeyManagerPrivateKeys) TLName() string { return "keyManager.privateKeys" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyManagerPrivateKeys) TLType() string { return "keyManager.PrivateKeys" }

// Size is how many bytes Append appends.
func (v *KeyManagerPrivateKeys) Size() int { return 4 + v.bareSize() }

func (v *KeyManagerPrivateKeys) bareSize() int { return 4 + 36*len(v.Keys) }

// Append writes the value with its id.
func (v *KeyManagerPrivateKeys) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x0ed66ce5))
}

func (v *KeyManagerPrivateKeys) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, int32(len(v.Keys))) //nolint:gosec // bounded by the frame
	for i := range v.Keys {
		dst = v.Keys[i].bare(dst)
	}
	return dst
}

func (v *KeyManagerPrivateKeys) decode(c *wire.Cursor) {
	v.Keys = make([]KeyManagerPrivateKey, c.Count(36))
	for i := range v.Keys {
		v.Keys[i].decode(c)
	}
}

// ProxyClientRequestPayment is the constructor proxy.clientRequestPayment, of type proxy.WorkerRequestPayment.
type ProxyClientRequestPayment struct {
	RequestID     [32]byte
	SignedPayment AnyProxySignedPayment
	DBTokens      int64
	MaxTokens     int64
	RequestTokens int64
}

// TLID is the constructor's id.
func (*ProxyClientRequestPayment) TLID() uint32 { return 0xc6bcf127 }

// TLName is the name in the schema.
func (*ProxyClientRequestPayment) TLName() string { return "proxy.clientRequestPayment" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyClientRequestPayment) TLType() string { return "proxy.WorkerRequestPayment" }

// Size is how many bytes Append appends.
func (v *ProxyClientRequestPayment) Size() int { return 4 + v.bareSize() }

func (v *ProxyClientRequestPayment) bareSize() int { return 56 + v.SignedPayment.Size() }

// Append writes the value with its id.
func (v *ProxyClientRequestPayment) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xc6bcf127))
}

func (v *ProxyClientRequestPayment) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = v.SignedPayment.Append(dst)
	dst = wire.AppendLong(dst, v.DBTokens)
	dst = wire.AppendLong(dst, v.MaxTokens)
	dst = wire.AppendLong(dst, v.RequestTokens)
	return dst
}

func (v *ProxyClientRequestPayment) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.SignedPayment = decodeAnyProxySignedPayment(c)
	v.DBTokens = c.Long()
	v.MaxTokens = c.Long()
	v.RequestTokens = c.Long()
}

// ProxyParams is the constructor proxy.params, of type proxy.Params.
type ProxyParams struct {
	ProxyPublicKey    [32]byte
	ProxyOwnerAddress string
	ProxySCAddress    string
	IsTest            *bool
	ProtoVersion      *int32
}

// TLID is the constructor's id.
func (*ProxyParams) TLID() uint32 { return 0xd5c5609f }

// TLName is the name in the schema.
func (*ProxyParams) TLName() string { return "proxy.params" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyParams) TLType() string { return "proxy.Params" }

// Size is how many bytes Append appends.
func (v *ProxyParams) Size() int { return 4 + v.bareSize() }

func (v *ProxyParams) bareSize() int {
	n := 36 + wire.BytesSize(len(v.ProxyOwnerAddress)) + wire.BytesSize(len(v.ProxySCAddress))
	if v.IsTest != nil {
		n += 4
	}
	if v.ProtoVersion != nil {
		n += 4
	}
	return n
}

// Append writes the value with its id.
func (v *ProxyParams) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xd5c5609f))
}

func (v *ProxyParams) bare(dst []byte) []byte {
	var flags uint32
	if v.IsTest != nil {
		flags |= 1 << 0
	}
	if v.ProtoVersion != nil {
		flags |= 1 << 1
	}
	dst = wire.AppendUint(dst, flags)
	dst = append(dst, v.ProxyPublicKey[:]...)
	dst = wire.AppendBytes(dst, v.ProxyOwnerAddress)
	dst = wire.AppendBytes(dst, v.ProxySCAddress)
	if flags&(1<<0) != 0 {
		dst = wire.AppendBool(dst, orZero(v.IsTest))
	}
	if flags&(1<<1) != 0 {
		dst = wire.AppendInt(dst, orZero(v.ProtoVersion))
	}
	return dst
}

func (v *ProxyParams) decode(c *wire.Cursor) {
	flags := c.Flags(0x3)
	v.ProxyPublicKey = int256(c)
	v.ProxyOwnerAddress = readString(c)
	v.ProxySCAddress = readString(c)
	if flags&(1<<0) != 0 {
		v.IsTest = new(bool)
		*v.IsTest = c.Bool()
	}
	if flags&(1<<1) != 0 {
		v.ProtoVersion = new(int32)
		*v.ProtoVersion = c.Int()
	}
}

// ProxyQueryAnswer is the constructor proxy.queryAnswer, of type proxy.QueryAnswer.
type ProxyQueryAnswer struct {
	Answer      []byte
	IsCompleted bool
	RequestID   [32]byte
	TokensUsed  TokensUsed
}

// TLID is the constructor's id.
func (*ProxyQueryAnswer) TLID() uint32 { return 0x37e5f725 }

// TLName is the name in the schema.
func (*ProxyQueryAnswer) TLName() string { return "proxy.queryAnswer" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyQueryAnswer) TLType() string { return "proxy.QueryAnswer" }

// Size is how many bytes Append appends.
func (v *ProxyQueryAnswer) Size() int { return 4 + v.bareSize() }

func (v *ProxyQueryAnswer) bareSize() int { return 76 + wire.BytesSize(len(v.Answer)) }

// Append writes the value with its id.
func (v *ProxyQueryAnswer) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x37e5f725))
}

func (v *ProxyQueryAnswer) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Answer)
	dst = wire.AppendBool(dst, v.IsCompleted)
	dst = append(dst, v.RequestID[:]...)
	dst = v.TokensUsed.bare(dst)
	return dst
}

func (v *ProxyQueryAnswer) decode(c *wire.Cursor) {
	v.Answer = c.Own(MaxBytes)
	v.IsCompleted = c.Bool()
	v.RequestID = int256(c)
	v.TokensUsed.decode(c)
}

// ProxyQueryAnswerError is the constructor proxy.queryAnswerError, of type proxy.QueryAnswer.
type ProxyQueryAnswerError struct {
	ErrorCode  int32
	Error      string
	RequestID  [32]byte
	TokensUsed TokensUsed
}

// TLID is the constructor's id.
func (*ProxyQueryAnswerError) TLID() uint32 { return 0x669d014e }

// TLName is the name in the schema.
func (*ProxyQueryAnswerError) TLName() string { return "proxy.queryAnswerError" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyQueryAnswerError) TLType() string { return "proxy.QueryAnswer" }

// Size is how many bytes Append appends.
func (v *ProxyQueryAnswerError) Size() int { return 4 + v.bareSize() }

func (v *ProxyQueryAnswerError) bareSize() int { return 76 + wire.BytesSize(len(v.Error)) }

// Append writes the value with its id.
func (v *ProxyQueryAnswerError) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x669d014e))
}

func (v *ProxyQueryAnswerError) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.ErrorCode)
	dst = wire.AppendBytes(dst, v.Error)
	dst = append(dst, v.RequestID[:]...)
	dst = v.TokensUsed.bare(dst)
	return dst
}

func (v *ProxyQueryAnswerError) decode(c *wire.Cursor) {
	v.ErrorCode = c.Int()
	v.Error = readString(c)
	v.RequestID = int256(c)
	v.TokensUsed.decode(c)
}

// ProxyQueryAnswerErrorEx is the constructor proxy.queryAnswerErrorEx, of type proxy.QueryAnswerEx.
type ProxyQueryAnswerErrorEx struct {
	RequestID [32]byte
	ErrorCode int32
	Error     string
	FinalInfo *ProxyQueryFinalInfo
}

// TLID is the constructor's id.
func (*ProxyQueryAnswerErrorEx) TLID() uint32 { return 0x8f7fb0a7 }

// TLName is the name in the schema.
func (*ProxyQueryAnswerErrorEx) TLName() string { return "proxy.queryAnswerErrorEx" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyQueryAnswerErrorEx) TLType() string { return "proxy.QueryAnswerEx" }

// Size is how many bytes Append appends.
func (v *ProxyQueryAnswerErrorEx) Size() int { return 4 + v.bareSize() }

func (v *ProxyQueryAnswerErrorEx) bareSize() int {
	n := 40 + wire.BytesSize(len(v.Error))
	if v.FinalInfo != nil {
		n += orNew(v.FinalInfo).bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *ProxyQueryAnswerErrorEx) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x8f7fb0a7))
}

func (v *ProxyQueryAnswerErrorEx) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = wire.AppendInt(dst, v.ErrorCode)
	dst = wire.AppendBytes(dst, v.Error)
	var flags uint32
	if v.FinalInfo != nil {
		flags |= 1 << 0
	}
	dst = wire.AppendUint(dst, flags)
	if flags&(1<<0) != 0 {
		x := orZero(v.FinalInfo)
		dst = x.bare(dst)
	}
	return dst
}

func (v *ProxyQueryAnswerErrorEx) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.ErrorCode = c.Int()
	v.Error = readString(c)
	flags := c.Flags(0x1)
	if flags&(1<<0) != 0 {
		v.FinalInfo = new(ProxyQueryFinalInfo)
		v.FinalInfo.decode(c)
	}
}

// ProxyQueryAnswerEx is the constructor proxy.queryAnswerEx, of type proxy.QueryAnswerEx.
type ProxyQueryAnswerEx struct {
	RequestID [32]byte
	Answer    []byte
	FinalInfo *ProxyQueryFinalInfo
}

// TLID is the constructor's id.
func (*ProxyQueryAnswerEx) TLID() uint32 { return 0x1ce574e8 }

// TLName is the name in the schema.
func (*ProxyQueryAnswerEx) TLName() string { return "proxy.queryAnswerEx" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyQueryAnswerEx) TLType() string { return "proxy.QueryAnswerEx" }

// Size is how many bytes Append appends.
func (v *ProxyQueryAnswerEx) Size() int { return 4 + v.bareSize() }

func (v *ProxyQueryAnswerEx) bareSize() int {
	n := 36 + wire.BytesSize(len(v.Answer))
	if v.FinalInfo != nil {
		n += orNew(v.FinalInfo).bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *ProxyQueryAnswerEx) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x1ce574e8))
}

func (v *ProxyQueryAnswerEx) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = wire.AppendBytes(dst, v.Answer)
	var flags uint32
	if v.FinalInfo != nil {
		flags |= 1 << 0
	}
	dst = wire.AppendUint(dst, flags)
	if flags&(1<<0) != 0 {
		x := orZero(v.FinalInfo)
		dst = x.bare(dst)
	}
	return dst
}

func (v *ProxyQueryAnswerEx) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.Answer = c.Own(MaxBytes)
	flags := c.Flags(0x1)
	if flags&(1<<0) != 0 {
		v.FinalInfo = new(ProxyQueryFinalInfo)
		v.FinalInfo.decode(c)
	}
}

// ProxyQueryAnswerPart is the constructor proxy.queryAnswerPart, of type proxy.QueryAnswerPart.
type ProxyQueryAnswerPart struct {
	Answer      []byte
	IsCompleted bool
	RequestID   [32]byte
	TokensUsed  TokensUsed
}

// TLID is the constructor's id.
func (*ProxyQueryAnswerPart) TLID() uint32 { return 0x72eb00ee }

// TLName is the name in the schema.
func (*ProxyQueryAnswerPart) TLName() string { return "proxy.queryAnswerPart" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyQueryAnswerPart) TLType() string { return "proxy.QueryAnswerPart" }

// Size is how many bytes Append appends.
func (v *ProxyQueryAnswerPart) Size() int { return 4 + v.bareSize() }

func (v *ProxyQueryAnswerPart) bareSize() int { return 76 + wire.BytesSize(len(v.Answer)) }

// Append writes the value with its id.
func (v *ProxyQueryAnswerPart) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x72eb00ee))
}

func (v *ProxyQueryAnswerPart) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Answer)
	dst = wire.AppendBool(dst, v.IsCompleted)
	dst = append(dst, v.RequestID[:]...)
	dst = v.TokensUsed.bare(dst)
	return dst
}

func (v *ProxyQueryAnswerPart) decode(c *wire.Cursor) {
	v.Answer = c.Own(MaxBytes)
	v.IsCompleted = c.Bool()
	v.RequestID = int256(c)
	v.TokensUsed.decode(c)
}

// ProxyQueryAnswerPartError is the constructor proxy.queryAnswerPartError, of type proxy.QueryAnswerPart.
type ProxyQueryAnswerPartError struct {
	ErrorCode  int32
	Error      string
	RequestID  [32]byte
	TokensUsed TokensUsed
}

// TLID is the constructor's id.
func (*ProxyQueryAnswerPartError) TLID() uint32 { return 0x940e1168 }

// TLName is the name in the schema.
func (*ProxyQueryAnswerPartError) TLName() string { return "proxy.queryAnswerPartError" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyQueryAnswerPartError) TLType() string { return "proxy.QueryAnswerPart" }

// Size is how many bytes Append appends.
func (v *ProxyQueryAnswerPartError) Size() int { return 4 + v.bareSize() }

func (v *ProxyQueryAnswerPartError) bareSize() int { return 76 + wire.BytesSize(len(v.Error)) }

// Append writes the value with its id.
func (v *ProxyQueryAnswerPartError) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x940e1168))
}

func (v *ProxyQueryAnswerPartError) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.ErrorCode)
	dst = wire.AppendBytes(dst, v.Error)
	dst = append(dst, v.RequestID[:]...)
	dst = v.TokensUsed.bare(dst)
	return dst
}

func (v *ProxyQueryAnswerPartError) decode(c *wire.Cursor) {
	v.ErrorCode = c.Int()
	v.Error = readString(c)
	v.RequestID = int256(c)
	v.TokensUsed.decode(c)
}

// ProxyQueryAnswerPartEx is the constructor proxy.queryAnswerPartEx, of type proxy.QueryAnswerEx.
type ProxyQueryAnswerPartEx struct {
	RequestID [32]byte
	Answer    []byte
	FinalInfo *ProxyQueryFinalInfo
}

// TLID is the constructor's id.
func (*ProxyQueryAnswerPartEx) TLID() uint32 { return 0x6d85b50f }

// TLName is the name in the schema.
func (*ProxyQueryAnswerPartEx) TLName() string { return "proxy.queryAnswerPartEx" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyQueryAnswerPartEx) TLType() string { return "proxy.QueryAnswerEx" }

// Size is how many bytes Append appends.
func (v *ProxyQueryAnswerPartEx) Size() int { return 4 + v.bareSize() }

func (v *ProxyQueryAnswerPartEx) bareSize() int {
	n := 36 + wire.BytesSize(len(v.Answer))
	if v.FinalInfo != nil {
		n += orNew(v.FinalInfo).bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *ProxyQueryAnswerPartEx) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x6d85b50f))
}

func (v *ProxyQueryAnswerPartEx) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = wire.AppendBytes(dst, v.Answer)
	var flags uint32
	if v.FinalInfo != nil {
		flags |= 1 << 0
	}
	dst = wire.AppendUint(dst, flags)
	if flags&(1<<0) != 0 {
		x := orZero(v.FinalInfo)
		dst = x.bare(dst)
	}
	return dst
}

func (v *ProxyQueryAnswerPartEx) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.Answer = c.Own(MaxBytes)
	flags := c.Flags(0x1)
	if flags&(1<<0) != 0 {
		v.FinalInfo = new(ProxyQueryFinalInfo)
		v.FinalInfo.decode(c)
	}
}

// ProxyQueryFinalInfo is the constructor proxy.queryFinalInfo, of type proxy.QueryFinalInfo.
type ProxyQueryFinalInfo struct {
	TokensUsed      TokensUsed
	WorkerDebug     *string
	WorkerStartTime *float64
	WorkerEndTime   *float64
}

// TLID is the constructor's id.
func (*ProxyQueryFinalInfo) TLID() uint32 { return 0xe794e6fc }

// TLName is the name in the schema.
func (*ProxyQueryFinalInfo) TLName() string { return "proxy.queryFinalInfo" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyQueryFinalInfo) TLType() string { return "proxy.QueryFinalInfo" }

// Size is how many bytes Append appends.
func (v *ProxyQueryFinalInfo) Size() int { return 4 + v.bareSize() }

func (v *ProxyQueryFinalInfo) bareSize() int {
	n := 44
	if v.WorkerDebug != nil {
		n += wire.BytesSize(len(orZero(v.WorkerDebug)))
	}
	if v.WorkerStartTime != nil || v.WorkerEndTime != nil {
		n += 16
	}
	return n
}

// Append writes the value with its id.
func (v *ProxyQueryFinalInfo) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xe794e6fc))
}

func (v *ProxyQueryFinalInfo) bare(dst []byte) []byte {
	var flags uint32
	if v.WorkerDebug != nil {
		flags |= 1 << 0
	}
	if v.WorkerStartTime != nil || v.WorkerEndTime != nil {
		flags |= 1 << 1
	}
	dst = wire.AppendUint(dst, flags)
	dst = v.TokensUsed.bare(dst)
	if flags&(1<<0) != 0 {
		dst = wire.AppendBytes(dst, orZero(v.WorkerDebug))
	}
	if flags&(1<<1) != 0 {
		dst = wire.AppendDouble(dst, orZero(v.WorkerStartTime))
	}
	if flags&(1<<1) != 0 {
		dst = wire.AppendDouble(dst, orZero(v.WorkerEndTime))
	}
	return dst
}

func (v *ProxyQueryFinalInfo) decode(c *wire.Cursor) {
	flags := c.Flags(0x3)
	v.TokensUsed.decode(c)
	if flags&(1<<0) != 0 {
		v.WorkerDebug = new(string)
		*v.WorkerDebug = readString(c)
	}
	if flags&(1<<1) != 0 {
		var all struct {
			WorkerStartTime float64
			WorkerEndTime   float64
		}
		all.WorkerStartTime = c.Double()
		v.WorkerStartTime = &all.WorkerStartTime
		all.WorkerEndTime = c.Double()
		v.WorkerEndTime = &all.WorkerEndTime
	}
}

// ProxySignedPayment is the constructor proxy.signedPayment, of type proxy.SignedPayment.
type ProxySignedPayment struct {
	Data []byte
}

// TLID is the constructor's id.
func (*ProxySignedPayment) TLID() uint32 { return 0x02998182 }

// TLName is the name in the schema.
func (*ProxySignedPayment) TLName() string { return "proxy.signedPayment" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxySignedPayment) TLType() string { return "proxy.SignedPayment" }

// Size is how many bytes Append appends.
func (v *ProxySignedPayment) Size() int { return 4 + v.bareSize() }

func (v *ProxySignedPayment) bareSize() int { return wire.BytesSize(len(v.Data)) }

// Append writes the value with its id.
func (v *ProxySignedPayment) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x02998182))
}

func (v *ProxySignedPayment) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Data)
	return dst
}

func (v *ProxySignedPayment) decode(c *wire.Cursor) {
	v.Data = c.Own(MaxBytes)
}

// ProxySignedPaymentEmpty is the constructor proxy.signedPaymentEmpty, of type proxy.SignedPayment.
type ProxySignedPaymentEmpty struct {
}

// TLID is the constructor's id.
func (*ProxySignedPaymentEmpty) TLID() uint32 { return 0xb347ce64 }

// TLName is the name in the schema.
func (*ProxySignedPaymentEmpty) TLName() string { return "proxy.signedPaymentEmpty" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxySignedPaymentEmpty) TLType() string { return "proxy.SignedPayment" }

// Size is how many bytes Append appends.
func (v *ProxySignedPaymentEmpty) Size() int { return 4 + v.bareSize() }

func (*ProxySignedPaymentEmpty) bareSize() int { return 0 }

// Append writes the value with its id.
func (v *ProxySignedPaymentEmpty) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xb347ce64))
}

func (*ProxySignedPaymentEmpty) bare(dst []byte) []byte { return dst }

func (*ProxySignedPaymentEmpty) decode(*wire.Cursor) {}

// ProxyWorkerRequestPayment is the constructor proxy.workerRequestPayment, of type proxy.WorkerRequestPayment.
type ProxyWorkerRequestPayment struct {
	RequestID          [32]byte
	SignedPayment      AnyProxySignedPayment
	DBTokens           int64
	MaxTokens          int64
	RequestTokens      int64
	RequestClientOwner string
}

// TLID is the constructor's id.
func (*ProxyWorkerRequestPayment) TLID() uint32 { return 0x1436c0d5 }

// TLName is the name in the schema.
func (*ProxyWorkerRequestPayment) TLName() string { return "proxy.workerRequestPayment" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyWorkerRequestPayment) TLType() string { return "proxy.WorkerRequestPayment" }

// Size is how many bytes Append appends.
func (v *ProxyWorkerRequestPayment) Size() int { return 4 + v.bareSize() }

func (v *ProxyWorkerRequestPayment) bareSize() int {
	return 56 + v.SignedPayment.Size() + wire.BytesSize(len(v.RequestClientOwner))
}

// Append writes the value with its id.
func (v *ProxyWorkerRequestPayment) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x1436c0d5))
}

func (v *ProxyWorkerRequestPayment) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = v.SignedPayment.Append(dst)
	dst = wire.AppendLong(dst, v.DBTokens)
	dst = wire.AppendLong(dst, v.MaxTokens)
	dst = wire.AppendLong(dst, v.RequestTokens)
	dst = wire.AppendBytes(dst, v.RequestClientOwner)
	return dst
}

func (v *ProxyWorkerRequestPayment) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.SignedPayment = decodeAnyProxySignedPayment(c)
	v.DBTokens = c.Long()
	v.MaxTokens = c.Long()
	v.RequestTokens = c.Long()
	v.RequestClientOwner = readString(c)
}

// TCPConnect is the constructor tcp.connect, of type tcp.Packet.
type TCPConnect struct {
	ID int64
}

// TLID is the constructor's id.
func (*TCPConnect) TLID() uint32 { return 0xa57c4261 }

// TLName is the name in the schema.
func (*TCPConnect) TLName() string { return "tcp.connect" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TCPConnect) TLType() string { return "tcp.Packet" }

// Size is how many bytes Append appends.
func (v *TCPConnect) Size() int { return 4 + v.bareSize() }

func (*TCPConnect) bareSize() int { return 8 }

// Append writes the value with its id.
func (v *TCPConnect) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xa57c4261))
}

func (v *TCPConnect) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.ID)
	return dst
}

func (v *TCPConnect) decode(c *wire.Cursor) {
	v.ID = c.Long()
}

// TCPConnected is the constructor tcp.connected, of type tcp.Packet.
type TCPConnected struct {
	ID int64
}

// TLID is the constructor's id.
func (*TCPConnected) TLID() uint32 { return 0x636d41d6 }

// TLName is the name in the schema.
func (*TCPConnected) TLName() string { return "tcp.connected" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TCPConnected) TLType() string { return "tcp.Packet" }

// Size is how many bytes Append appends.
func (v *TCPConnected) Size() int { return 4 + v.bareSize() }

func (*TCPConnected) bareSize() int { return 8 }

// Append writes the value with its id.
func (v *TCPConnected) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x636d41d6))
}

func (v *TCPConnected) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.ID)
	return dst
}

func (v *TCPConnected) decode(c *wire.Cursor) {
	v.ID = c.Long()
}

// TCPPacket is the constructor tcp.packet, of type tcp.Packet.
type TCPPacket struct {
	Data []byte
}

// TLID is the constructor's id.
func (*TCPPacket) TLID() uint32 { return 0x9c17baf8 }

// TLName is the name in the schema.
func (*TCPPacket) TLName() string { return "tcp.packet" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TCPPacket) TLType() string { return "tcp.Packet" }

// Size is how many bytes Append appends.
func (v *TCPPacket) Size() int { return 4 + v.bareSize() }

func (v *TCPPacket) bareSize() int { return wire.BytesSize(len(v.Data)) }

// Append writes the value with its id.
func (v *TCPPacket) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x9c17baf8))
}

func (v *TCPPacket) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Data)
	return dst
}

func (v *TCPPacket) decode(c *wire.Cursor) {
	v.Data = c.Own(MaxBytes)
}

// TCPPing is the constructor tcp.ping, of type tcp.Packet.
type TCPPing struct {
	ID int64
}

// TLID is the constructor's id.
func (*TCPPing) TLID() uint32 { return 0xbbe9627c }

// TLName is the name in the schema.
func (*TCPPing) TLName() string { return "tcp.ping" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TCPPing) TLType() string { return "tcp.Packet" }

// Size is how many bytes Append appends.
func (v *TCPPing) Size() int { return 4 + v.bareSize() }

func (*TCPPing) bareSize() int { return 8 }

// Append writes the value with its id.
func (v *TCPPing) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xbbe9627c))
}

func (v *TCPPing) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.ID)
	return dst
}

func (v *TCPPing) decode(c *wire.Cursor) {
	v.ID = c.Long()
}

// TCPPong is the constructor tcp.pong, of type tcp.Packet.
type TCPPong struct {
	ID int64
}

// TLID is the constructor's id.
func (*TCPPong) TLID() uint32 { return 0x0bd4302c }

// TLName is the name in the schema.
func (*TCPPong) TLName() string { return "tcp.pong" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TCPPong) TLType() string { return "tcp.Packet" }

// Size is how many bytes Append appends.
func (v *TCPPong) Size() int { return 4 + v.bareSize() }

func (*TCPPong) bareSize() int { return 8 }

// Append writes the value with its id.
func (v *TCPPong) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x0bd4302c))
}

func (v *TCPPong) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.ID)
	return dst
}

func (v *TCPPong) decode(c *wire.Cursor) {
	v.ID = c.Long()
}

// TCPQuery is the constructor tcp.query, of type tcp.Packet.
type TCPQuery struct {
	ID   int64
	Data []byte
}

// TLID is the constructor's id.
func (*TCPQuery) TLID() uint32 { return 0x3af51908 }

// TLName is the name in the schema.
func (*TCPQuery) TLName() string { return "tcp.query" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TCPQuery) TLType() string { return "tcp.Packet" }

// Size is how many bytes Append appends.
func (v *TCPQuery) Size() int { return 4 + v.bareSize() }

func (v *TCPQuery) bareSize() int { return 8 + wire.BytesSize(len(v.Data)) }

// Append writes the value with its id.
func (v *TCPQuery) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x3af51908))
}

func (v *TCPQuery) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.ID)
	dst = wire.AppendBytes(dst, v.Data)
	return dst
}

func (v *TCPQuery) decode(c *wire.Cursor) {
	v.ID = c.Long()
	v.Data = c.Own(MaxBytes)
}

// TCPQueryAnswer is the constructor tcp.queryAnswer, of type tcp.Packet.
type TCPQueryAnswer struct {
	ID   int64
	Data []byte
}

// TLID is the constructor's id.
func (*TCPQueryAnswer) TLID() uint32 { return 0xc048c311 }

// TLName is the name in the schema.
func (*TCPQueryAnswer) TLName() string { return "tcp.queryAnswer" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TCPQueryAnswer) TLType() string { return "tcp.Packet" }

// Size is how many bytes Append appends.
func (v *TCPQueryAnswer) Size() int { return 4 + v.bareSize() }

func (v *TCPQueryAnswer) bareSize() int { return 8 + wire.BytesSize(len(v.Data)) }

// Append writes the value with its id.
func (v *TCPQueryAnswer) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xc048c311))
}

func (v *TCPQueryAnswer) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.ID)
	dst = wire.AppendBytes(dst, v.Data)
	return dst
}

func (v *TCPQueryAnswer) decode(c *wire.Cursor) {
	v.ID = c.Long()
	v.Data = c.Own(MaxBytes)
}

// TCPQueryError is the constructor tcp.queryError, of type tcp.Packet.
type TCPQueryError struct {
	ID      int64
	Code    int32
	Message string
}

// TLID is the constructor's id.
func (*TCPQueryError) TLID() uint32 { return 0x4cd2f602 }

// TLName is the name in the schema.
func (*TCPQueryError) TLName() string { return "tcp.queryError" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TCPQueryError) TLType() string { return "tcp.Packet" }

// Size is how many bytes Append appends.
func (v *TCPQueryError) Size() int { return 4 + v.bareSize() }

func (v *TCPQueryError) bareSize() int { return 12 + wire.BytesSize(len(v.Message)) }

// Append writes the value with its id.
func (v *TCPQueryError) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x4cd2f602))
}

func (v *TCPQueryError) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.ID)
	dst = wire.AppendInt(dst, v.Code)
	dst = wire.AppendBytes(dst, v.Message)
	return dst
}

func (v *TCPQueryError) decode(c *wire.Cursor) {
	v.ID = c.Long()
	v.Code = c.Int()
	v.Message = readString(c)
}

// TestAnswer is the constructor test.answer, of type test.Answer.
type TestAnswer struct {
	ID int64
}

// TLID is the constructor's id.
func (*TestAnswer) TLID() uint32 { return 0x0d4fcdb6 }

// TLName is the name in the schema.
func (*TestAnswer) TLName() string { return "test.answer" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TestAnswer) TLType() string { return "test.Answer" }

// Size is how many bytes Append appends.
func (v *TestAnswer) Size() int { return 4 + v.bareSize() }

func (*TestAnswer) bareSize() int { return 8 }

// Append writes the value with its id.
func (v *TestAnswer) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x0d4fcdb6))
}

func (v *TestAnswer) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.ID)
	return dst
}

func (v *TestAnswer) decode(c *wire.Cursor) {
	v.ID = c.Long()
}

// TokensUsed is the constructor tokensUsed, of type TokensUsed.
type TokensUsed struct {
	PromptTokensUsed     int64
	CachedTokensUsed     int64
	CompletionTokensUsed int64
	ReasoningTokensUsed  int64
	TotalTokensUsed      int64
}

// TLID is the constructor's id.
func (*TokensUsed) TLID() uint32 { return 0x70c5b15c }

// TLName is the name in the schema.
func (*TokensUsed) TLName() string { return "tokensUsed" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TokensUsed) TLType() string { return "TokensUsed" }

// Size is how many bytes Append appends.
func (v *TokensUsed) Size() int { return 4 + v.bareSize() }

func (*TokensUsed) bareSize() int { return 40 }

// Append writes the value with its id.
func (v *TokensUsed) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x70c5b15c))
}

func (v *TokensUsed) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.PromptTokensUsed)
	dst = wire.AppendLong(dst, v.CachedTokensUsed)
	dst = wire.AppendLong(dst, v.CompletionTokensUsed)
	dst = wire.AppendLong(dst, v.ReasoningTokensUsed)
	dst = wire.AppendLong(dst, v.TotalTokensUsed)
	return dst
}

func (v *TokensUsed) decode(c *wire.Cursor) {
	v.PromptTokensUsed = c.Long()
	v.CachedTokensUsed = c.Long()
	v.CompletionTokensUsed = c.Long()
	v.ReasoningTokensUsed = c.Long()
	v.TotalTokensUsed = c.Long()
}

// WorkerChangedModel is the constructor worker.changedModel, of type worker.ChangedModel.
type WorkerChangedModel struct {
}

// TLID is the constructor's id.
func (*WorkerChangedModel) TLID() uint32 { return 0x34029366 }

// TLName is the name in the schema.
func (*WorkerChangedModel) TLName() string { return "worker.changedModel" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerChangedModel) TLType() string { return "worker.ChangedModel" }

// Size is how many bytes Append appends.
func (v *WorkerChangedModel) Size() int { return 4 + v.bareSize() }

func (*WorkerChangedModel) bareSize() int { return 0 }

// Append writes the value with its id.
func (v *WorkerChangedModel) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x34029366))
}

func (*WorkerChangedModel) bare(dst []byte) []byte { return dst }

func (*WorkerChangedModel) decode(*wire.Cursor) {}

// WorkerCompareBalanceWithProxyResult is the constructor worker.compareBalanceWithProxyResult, of type worker.CompareBalanceWithProxyResult.
type WorkerCompareBalanceWithProxyResult struct {
	SignedPayment       AnyProxySignedPayment
	TokensCommittedToDB int64
	MaxTokens           int64
	ErrorCode           int32
}

// TLID is the constructor's id.
func (*WorkerCompareBalanceWithProxyResult) TLID() uint32 { return 0x9054c411 }

// TLName is the name in the schema.
func (*WorkerCompareBalanceWithProxyResult) TLName() string {
	return "worker.compareBalanceWithProxyResult"
}

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerCompareBalanceWithProxyResult) TLType() string {
	return "worker.CompareBalanceWithProxyResult"
}

// Size is how many bytes Append appends.
func (v *WorkerCompareBalanceWithProxyResult) Size() int { return 4 + v.bareSize() }

func (v *WorkerCompareBalanceWithProxyResult) bareSize() int { return 20 + v.SignedPayment.Size() }

// Append writes the value with its id.
func (v *WorkerCompareBalanceWithProxyResult) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x9054c411))
}

func (v *WorkerCompareBalanceWithProxyResult) bare(dst []byte) []byte {
	dst = v.SignedPayment.Append(dst)
	dst = wire.AppendLong(dst, v.TokensCommittedToDB)
	dst = wire.AppendLong(dst, v.MaxTokens)
	dst = wire.AppendInt(dst, v.ErrorCode)
	return dst
}

func (v *WorkerCompareBalanceWithProxyResult) decode(c *wire.Cursor) {
	v.SignedPayment = decodeAnyProxySignedPayment(c)
	v.TokensCommittedToDB = c.Long()
	v.MaxTokens = c.Long()
	v.ErrorCode = c.Int()
}

// WorkerConnectedToProxy is the constructor worker.connectedToProxy, of type worker.ConnectedToProxy.
type WorkerConnectedToProxy struct {
	Params          ProxyParams
	WorkerSCAddress string
}

// TLID is the constructor's id.
func (*WorkerConnectedToProxy) TLID() uint32 { return 0x66bc82ee }

// TLName is the name in the schema.
func (*WorkerConnectedToProxy) TLName() string { return "worker.connectedToProxy" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerConnectedToProxy) TLType() string { return "worker.ConnectedToProxy" }

// Size is how many bytes Append appends.
func (v *WorkerConnectedToProxy) Size() int { return 4 + v.bareSize() }

func (v *WorkerConnectedToProxy) bareSize() int {
	return v.Params.bareSize() + wire.BytesSize(len(v.WorkerSCAddress))
}

// Append writes the value with its id.
func (v *WorkerConnectedToProxy) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x66bc82ee))
}

func (v *WorkerConnectedToProxy) bare(dst []byte) []byte {
	dst = v.Params.bare(dst)
	dst = wire.AppendBytes(dst, v.WorkerSCAddress)
	return dst
}

func (v *WorkerConnectedToProxy) decode(c *wire.Cursor) {
	v.Params.decode(c)
	v.WorkerSCAddress = readString(c)
}

// WorkerEnabledDisabled is the constructor worker.enabledDisabled, of type worker.EnabledDisabled.
type WorkerEnabledDisabled struct {
	Disabled int32
}

// TLID is the constructor's id.
func (*WorkerEnabledDisabled) TLID() uint32 { return 0xb3b71039 }

// TLName is the name in the schema.
func (*WorkerEnabledDisabled) TLName() string { return "worker.enabledDisabled" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerEnabledDisabled) TLType() string { return "worker.EnabledDisabled" }

// Size is how many bytes Append appends.
func (v *WorkerEnabledDisabled) Size() int { return 4 + v.bareSize() }

func (*WorkerEnabledDisabled) bareSize() int { return 4 }

// Append writes the value with its id.
func (v *WorkerEnabledDisabled) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xb3b71039))
}

func (v *WorkerEnabledDisabled) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.Disabled)
	return dst
}

func (v *WorkerEnabledDisabled) decode(c *wire.Cursor) {
	v.Disabled = c.Int()
}

// WorkerExtendedCompareBalanceWithProxyResult is the constructor worker.extendedCompareBalanceWithProxyResult, of type worker.ExtendedCompareBalanceWithProxyResult.
type WorkerExtendedCompareBalanceWithProxyResult struct {
	ErrorCode int32
}

// TLID is the constructor's id.
func (*WorkerExtendedCompareBalanceWithProxyResult) TLID() uint32 { return 0x0c10973e }

// TLName is the name in the schema.
func (*WorkerExtendedCompareBalanceWithProxyResult) TLName() string {
	return "worker.extendedCompareBalanceWithProxyResult"
}

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerExtendedCompareBalanceWithProxyResult) TLType() string {
	return "worker.ExtendedCompareBalanceWithProxyResult"
}

// Size is how many bytes Append appends.
func (v *WorkerExtendedCompareBalanceWithProxyResult) Size() int { return 4 + v.bareSize() }

func (*WorkerExtendedCompareBalanceWithProxyResult) bareSize() int { return 4 }

// Append writes the value with its id.
func (v *WorkerExtendedCompareBalanceWithProxyResult) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x0c10973e))
}

func (v *WorkerExtendedCompareBalanceWithProxyResult) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.ErrorCode)
	return dst
}

func (v *WorkerExtendedCompareBalanceWithProxyResult) decode(c *wire.Cursor) {
	v.ErrorCode = c.Int()
}

// WorkerNewCoefficient is the constructor worker.newCoefficient, of type worker.NewCoefficient.
type WorkerNewCoefficient struct {
	NewCoefficient int32
}

// TLID is the constructor's id.
func (*WorkerNewCoefficient) TLID() uint32 { return 0x6af092b0 }

// TLName is the name in the schema.
func (*WorkerNewCoefficient) TLName() string { return "worker.newCoefficient" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerNewCoefficient) TLType() string { return "worker.NewCoefficient" }

// Size is how many bytes Append appends.
func (v *WorkerNewCoefficient) Size() int { return 4 + v.bareSize() }

func (*WorkerNewCoefficient) bareSize() int { return 4 }

// Append writes the value with its id.
func (v *WorkerNewCoefficient) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x6af092b0))
}

func (v *WorkerNewCoefficient) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.NewCoefficient)
	return dst
}

func (v *WorkerNewCoefficient) decode(c *wire.Cursor) {
	v.NewCoefficient = c.Int()
}

// WorkerParams is the constructor worker.params, of type worker.Params.
type WorkerParams struct {
	WorkerOwnerAddress     string
	Model                  string
	Coefficient            int32
	IsTest                 *bool
	ProxyCnt               *int32
	MaxActiveRequests      *int32
	MinProtoVersion        *int32
	MaxProtoVersion        *int32
	MachineDescriptionJSON *string
}

// TLID is the constructor's id.
func (*WorkerParams) TLID() uint32 { return 0x869c73ed }

// TLName is the name in the schema.
func (*WorkerParams) TLName() string { return "worker.params" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerParams) TLType() string { return "worker.Params" }

// Size is how many bytes Append appends.
func (v *WorkerParams) Size() int { return 4 + v.bareSize() }

func (v *WorkerParams) bareSize() int {
	n := 8 + wire.BytesSize(len(v.WorkerOwnerAddress)) + wire.BytesSize(len(v.Model))
	if v.IsTest != nil || v.ProxyCnt != nil || v.MaxActiveRequests != nil {
		n += 12
	}
	if v.MinProtoVersion != nil || v.MaxProtoVersion != nil {
		n += 8
	}
	if v.MachineDescriptionJSON != nil {
		n += wire.BytesSize(len(orZero(v.MachineDescriptionJSON)))
	}
	return n
}

// Append writes the value with its id.
func (v *WorkerParams) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x869c73ed))
}

func (v *WorkerParams) bare(dst []byte) []byte {
	var flags uint32
	if v.IsTest != nil || v.ProxyCnt != nil || v.MaxActiveRequests != nil {
		flags |= 1 << 0
	}
	if v.MinProtoVersion != nil || v.MaxProtoVersion != nil {
		flags |= 1 << 1
	}
	if v.MachineDescriptionJSON != nil {
		flags |= 1 << 2
	}
	dst = wire.AppendUint(dst, flags)
	dst = wire.AppendBytes(dst, v.WorkerOwnerAddress)
	dst = wire.AppendBytes(dst, v.Model)
	dst = wire.AppendInt(dst, v.Coefficient)
	if flags&(1<<0) != 0 {
		dst = wire.AppendBool(dst, orZero(v.IsTest))
	}
	if flags&(1<<0) != 0 {
		dst = wire.AppendInt(dst, orZero(v.ProxyCnt))
	}
	if flags&(1<<0) != 0 {
		dst = wire.AppendInt(dst, orZero(v.MaxActiveRequests))
	}
	if flags&(1<<1) != 0 {
		dst = wire.AppendInt(dst, orZero(v.MinProtoVersion))
	}
	if flags&(1<<1) != 0 {
		dst = wire.AppendInt(dst, orZero(v.MaxProtoVersion))
	}
	if flags&(1<<2) != 0 {
		dst = wire.AppendBytes(dst, orZero(v.MachineDescriptionJSON))
	}
	return dst
}

func (v *WorkerParams) decode(c *wire.Cursor) {
	flags := c.Flags(0x7)
	v.WorkerOwnerAddress = readString(c)
	v.Model = readString(c)
	v.Coefficient = c.Int()
	if flags&(1<<0) != 0 {
		var all struct {
			IsTest            bool
			ProxyCnt          int32
			MaxActiveRequests int32
		}
		all.IsTest = c.Bool()
		v.IsTest = &all.IsTest
		all.ProxyCnt = c.Int()
		v.ProxyCnt = &all.ProxyCnt
		all.MaxActiveRequests = c.Int()
		v.MaxActiveRequests = &all.MaxActiveRequests
	}
	if flags&(1<<1) != 0 {
		var all struct {
			MinProtoVersion int32
			MaxProtoVersion int32
		}
		all.MinProtoVersion = c.Int()
		v.MinProtoVersion = &all.MinProtoVersion
		all.MaxProtoVersion = c.Int()
		v.MaxProtoVersion = &all.MaxProtoVersion
	}
	if flags&(1<<2) != 0 {
		v.MachineDescriptionJSON = new(string)
		*v.MachineDescriptionJSON = readString(c)
	}
}

// WorkerPaymentStatus is the constructor worker.paymentStatus, of type worker.PaymentStatus.
type WorkerPaymentStatus struct {
	SignedPayment AnyProxySignedPayment
	DBTokens      int64
	MaxTokens     int64
}

// TLID is the constructor's id.
func (*WorkerPaymentStatus) TLID() uint32 { return 0xa88bd701 }

// TLName is the name in the schema.
func (*WorkerPaymentStatus) TLName() string { return "worker.paymentStatus" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerPaymentStatus) TLType() string { return "worker.PaymentStatus" }

// Size is how many bytes Append appends.
func (v *WorkerPaymentStatus) Size() int { return 4 + v.bareSize() }

func (v *WorkerPaymentStatus) bareSize() int { return 16 + v.SignedPayment.Size() }

// Append writes the value with its id.
func (v *WorkerPaymentStatus) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xa88bd701))
}

func (v *WorkerPaymentStatus) bare(dst []byte) []byte {
	dst = v.SignedPayment.Append(dst)
	dst = wire.AppendLong(dst, v.DBTokens)
	dst = wire.AppendLong(dst, v.MaxTokens)
	return dst
}

func (v *WorkerPaymentStatus) decode(c *wire.Cursor) {
	v.SignedPayment = decodeAnyProxySignedPayment(c)
	v.DBTokens = c.Long()
	v.MaxTokens = c.Long()
}

// WorkerProxyHandshakeCompleted is the constructor worker.proxyHandshakeCompleted, of type worker.HandshakeCompleted.
type WorkerProxyHandshakeCompleted struct {
}

// TLID is the constructor's id.
func (*WorkerProxyHandshakeCompleted) TLID() uint32 { return 0x3ad9b886 }

// TLName is the name in the schema.
func (*WorkerProxyHandshakeCompleted) TLName() string { return "worker.proxyHandshakeCompleted" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerProxyHandshakeCompleted) TLType() string { return "worker.HandshakeCompleted" }

// Size is how many bytes Append appends.
func (v *WorkerProxyHandshakeCompleted) Size() int { return 4 + v.bareSize() }

func (*WorkerProxyHandshakeCompleted) bareSize() int { return 0 }

// Append writes the value with its id.
func (v *WorkerProxyHandshakeCompleted) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x3ad9b886))
}

func (*WorkerProxyHandshakeCompleted) bare(dst []byte) []byte { return dst }

func (*WorkerProxyHandshakeCompleted) decode(*wire.Cursor) {}

// ClientCancelQuery is the constructor client.cancelQuery, of type client.CancelQuery.
type ClientCancelQuery struct {
	RequestID [32]byte
}

// TLID is the constructor's id.
func (*ClientCancelQuery) TLID() uint32 { return 0x3265a5f8 }

// TLName is the name in the schema.
func (*ClientCancelQuery) TLName() string { return "client.cancelQuery" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientCancelQuery) TLType() string { return "client.CancelQuery" }

// Size is how many bytes Append appends.
func (v *ClientCancelQuery) Size() int { return 4 + v.bareSize() }

func (*ClientCancelQuery) bareSize() int { return 32 }

// Append writes the value with its id.
func (v *ClientCancelQuery) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x3265a5f8))
}

func (v *ClientCancelQuery) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	return dst
}

func (v *ClientCancelQuery) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
}

// ProxyCancelQuery is the constructor proxy.cancelQuery, of type proxy.CancelQuery.
type ProxyCancelQuery struct {
	RequestID [32]byte
}

// TLID is the constructor's id.
func (*ProxyCancelQuery) TLID() uint32 { return 0x8cd7e668 }

// TLName is the name in the schema.
func (*ProxyCancelQuery) TLName() string { return "proxy.cancelQuery" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyCancelQuery) TLType() string { return "proxy.CancelQuery" }

// Size is how many bytes Append appends.
func (v *ProxyCancelQuery) Size() int { return 4 + v.bareSize() }

func (*ProxyCancelQuery) bareSize() int { return 32 }

// Append writes the value with its id.
func (v *ProxyCancelQuery) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x8cd7e668))
}

func (v *ProxyCancelQuery) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	return dst
}

func (v *ProxyCancelQuery) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
}

// ClientQueryReceipt is the constructor client.queryReceipt, of type client.QueryReceipt.
type ClientQueryReceipt struct {
	RequestID [32]byte
	Receipt   []byte
}

// TLID is the constructor's id.
func (*ClientQueryReceipt) TLID() uint32 { return 0xa07bbc1c }

// TLName is the name in the schema.
func (*ClientQueryReceipt) TLName() string { return "client.queryReceipt" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientQueryReceipt) TLType() string { return "client.QueryReceipt" }

// Size is how many bytes Append appends.
func (v *ClientQueryReceipt) Size() int { return 4 + v.bareSize() }

func (v *ClientQueryReceipt) bareSize() int { return 32 + wire.BytesSize(len(v.Receipt)) }

// Append writes the value with its id.
func (v *ClientQueryReceipt) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xa07bbc1c))
}

func (v *ClientQueryReceipt) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = wire.AppendBytes(dst, v.Receipt)
	return dst
}

func (v *ClientQueryReceipt) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.Receipt = c.Own(MaxBytes)
}

// ProxyQueryStatement is the constructor proxy.queryStatement, of type proxy.QueryStatement.
type ProxyQueryStatement struct {
	RequestID    [32]byte
	ResponseHash [32]byte
	Status       int32
	ServedAt     int64
	KeyID        string
	Signature    []byte
}

// TLID is the constructor's id.
func (*ProxyQueryStatement) TLID() uint32 { return 0x5b23ef17 }

// TLName is the name in the schema.
func (*ProxyQueryStatement) TLName() string { return "proxy.queryStatement" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyQueryStatement) TLType() string { return "proxy.QueryStatement" }

// Size is how many bytes Append appends.
func (v *ProxyQueryStatement) Size() int { return 4 + v.bareSize() }

func (v *ProxyQueryStatement) bareSize() int {
	return 76 + wire.BytesSize(len(v.KeyID)) + wire.BytesSize(len(v.Signature))
}

// Append writes the value with its id.
func (v *ProxyQueryStatement) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x5b23ef17))
}

func (v *ProxyQueryStatement) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = append(dst, v.ResponseHash[:]...)
	dst = wire.AppendInt(dst, v.Status)
	dst = wire.AppendLong(dst, v.ServedAt)
	dst = wire.AppendBytes(dst, v.KeyID)
	dst = wire.AppendBytes(dst, v.Signature)
	return dst
}

func (v *ProxyQueryStatement) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.ResponseHash = int256(c)
	v.Status = c.Int()
	v.ServedAt = c.Long()
	v.KeyID = readString(c)
	v.Signature = c.Own(MaxBytes)
}

// ClientQueryCredit is the constructor client.queryCredit, of type client.QueryCredit.
type ClientQueryCredit struct {
	RequestID [32]byte
	Bytes     int32
}

// TLID is the constructor's id.
func (*ClientQueryCredit) TLID() uint32 { return 0x8d37f30a }

// TLName is the name in the schema.
func (*ClientQueryCredit) TLName() string { return "client.queryCredit" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientQueryCredit) TLType() string { return "client.QueryCredit" }

// Size is how many bytes Append appends.
func (v *ClientQueryCredit) Size() int { return 4 + v.bareSize() }

func (*ClientQueryCredit) bareSize() int { return 36 }

// Append writes the value with its id.
func (v *ClientQueryCredit) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x8d37f30a))
}

func (v *ClientQueryCredit) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = wire.AppendInt(dst, v.Bytes)
	return dst
}

func (v *ClientQueryCredit) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.Bytes = c.Int()
}

// ProxyQueryCredit is the constructor proxy.queryCredit, of type proxy.QueryCredit.
type ProxyQueryCredit struct {
	RequestID [32]byte
	Bytes     int32
}

// TLID is the constructor's id.
func (*ProxyQueryCredit) TLID() uint32 { return 0x4c7f1a30 }

// TLName is the name in the schema.
func (*ProxyQueryCredit) TLName() string { return "proxy.queryCredit" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyQueryCredit) TLType() string { return "proxy.QueryCredit" }

// Size is how many bytes Append appends.
func (v *ProxyQueryCredit) Size() int { return 4 + v.bareSize() }

func (*ProxyQueryCredit) bareSize() int { return 36 }

// Append writes the value with its id.
func (v *ProxyQueryCredit) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x4c7f1a30))
}

func (v *ProxyQueryCredit) bare(dst []byte) []byte {
	dst = append(dst, v.RequestID[:]...)
	dst = wire.AppendInt(dst, v.Bytes)
	return dst
}

func (v *ProxyQueryCredit) decode(c *wire.Cursor) {
	v.RequestID = int256(c)
	v.Bytes = c.Int()
}

// ClientSession is the constructor client.session, of type client.Session.
type ClientSession struct {
	Document []byte
}

// TLID is the constructor's id.
func (*ClientSession) TLID() uint32 { return 0x22359b94 }

// TLName is the name in the schema.
func (*ClientSession) TLName() string { return "client.session" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientSession) TLType() string { return "client.Session" }

// Size is how many bytes Append appends.
func (v *ClientSession) Size() int { return 4 + v.bareSize() }

func (v *ClientSession) bareSize() int { return wire.BytesSize(len(v.Document)) }

// Append writes the value with its id.
func (v *ClientSession) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x22359b94))
}

func (v *ClientSession) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Document)
	return dst
}

func (v *ClientSession) decode(c *wire.Cursor) {
	v.Document = c.Own(MaxBytes)
}

// ClientAttestation is the constructor client.attestation, of type client.Attestation.
type ClientAttestation struct {
	Document []byte
}

// TLID is the constructor's id.
func (*ClientAttestation) TLID() uint32 { return 0x8947fff3 }

// TLName is the name in the schema.
func (*ClientAttestation) TLName() string { return "client.attestation" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientAttestation) TLType() string { return "client.Attestation" }

// Size is how many bytes Append appends.
func (v *ClientAttestation) Size() int { return 4 + v.bareSize() }

func (v *ClientAttestation) bareSize() int { return wire.BytesSize(len(v.Document)) }

// Append writes the value with its id.
func (v *ClientAttestation) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x8947fff3))
}

func (v *ClientAttestation) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Document)
	return dst
}

func (v *ClientAttestation) decode(c *wire.Cursor) {
	v.Document = c.Own(MaxBytes)
}

// ClientRunnerConfig is the constructor clientRunner.config, of type clientRunner.Config.
type ClientRunnerConfig struct {
	IsTest              bool
	IsTestnet           bool
	HTTPPort            int32
	OwnerAddress        string
	ProxyConnections    int32
	ConnectToProxyVia   string
	RootContractAddress string
	NodeWalletKey       [32]byte
	CheckProxyHashes    bool
	SecretString        string
	TONConfigFilename   string
	HTTPAccessHash      string
}

// TLID is the constructor's id.
func (*ClientRunnerConfig) TLID() uint32 { return 0xaf0bd51f }

// TLName is the name in the schema.
func (*ClientRunnerConfig) TLName() string { return "clientRunner.config" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientRunnerConfig) TLType() string { return "clientRunner.Config" }

// Size is how many bytes Append appends.
func (v *ClientRunnerConfig) Size() int { return 4 + v.bareSize() }

func (v *ClientRunnerConfig) bareSize() int {
	return 52 + wire.BytesSize(len(v.OwnerAddress)) + wire.BytesSize(len(v.ConnectToProxyVia)) + wire.BytesSize(len(v.RootContractAddress)) + wire.BytesSize(len(v.SecretString)) + wire.BytesSize(len(v.TONConfigFilename)) + wire.BytesSize(len(v.HTTPAccessHash))
}

// Append writes the value with its id.
func (v *ClientRunnerConfig) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xaf0bd51f))
}

func (v *ClientRunnerConfig) bare(dst []byte) []byte {
	dst = wire.AppendBool(dst, v.IsTest)
	dst = wire.AppendBool(dst, v.IsTestnet)
	dst = wire.AppendInt(dst, v.HTTPPort)
	dst = wire.AppendBytes(dst, v.OwnerAddress)
	dst = wire.AppendInt(dst, v.ProxyConnections)
	dst = wire.AppendBytes(dst, v.ConnectToProxyVia)
	dst = wire.AppendBytes(dst, v.RootContractAddress)
	dst = append(dst, v.NodeWalletKey[:]...)
	dst = wire.AppendBool(dst, v.CheckProxyHashes)
	dst = wire.AppendBytes(dst, v.SecretString)
	dst = wire.AppendBytes(dst, v.TONConfigFilename)
	dst = wire.AppendBytes(dst, v.HTTPAccessHash)
	return dst
}

func (v *ClientRunnerConfig) decode(c *wire.Cursor) {
	v.IsTest = c.Bool()
	v.IsTestnet = c.Bool()
	v.HTTPPort = c.Int()
	v.OwnerAddress = readString(c)
	v.ProxyConnections = c.Int()
	v.ConnectToProxyVia = readString(c)
	v.RootContractAddress = readString(c)
	v.NodeWalletKey = int256(c)
	v.CheckProxyHashes = c.Bool()
	v.SecretString = readString(c)
	v.TONConfigFilename = readString(c)
	v.HTTPAccessHash = readString(c)
}

// KeyManagerDBConfigEmpty is the constructor keyManagerDb.configEmpty, of type keyManagerDb.Config.
type KeyManagerDBConfigEmpty struct {
}

// TLID is the constructor's id.
func (*KeyManagerDBConfigEmpty) TLID() uint32 { return 0xd3fc2385 }

// TLName is the name in the schema.
func (*KeyManagerDBConfigEmpty) TLName() string { return "keyManagerDb.configEmpty" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyManagerDBConfigEmpty) TLType() string { return "keyManagerDb.Config" }

// Size is how many bytes Append appends.
func (v *KeyManagerDBConfigEmpty) Size() int { return 4 + v.bareSize() }

func (*KeyManagerDBConfigEmpty) bareSize() int { return 0 }

// Append writes the value with its id.
func (v *KeyManagerDBConfigEmpty) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xd3fc2385))
}

func (*KeyManagerDBConfigEmpty) bare(dst []byte) []byte { return dst }

func (*KeyManagerDBConfigEmpty) decode(*wire.Cursor) {}

// KeyManagerDBConfigV1 is the constructor keyManagerDb.configV1, of type keyManagerDb.Config.
type KeyManagerDBConfigV1 struct {
	RootContractVersion int32
}

// TLID is the constructor's id.
func (*KeyManagerDBConfigV1) TLID() uint32 { return 0x6d2817ac }

// TLName is the name in the schema.
func (*KeyManagerDBConfigV1) TLName() string { return "keyManagerDb.configV1" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyManagerDBConfigV1) TLType() string { return "keyManagerDb.Config" }

// Size is how many bytes Append appends.
func (v *KeyManagerDBConfigV1) Size() int { return 4 + v.bareSize() }

func (*KeyManagerDBConfigV1) bareSize() int { return 4 }

// Append writes the value with its id.
func (v *KeyManagerDBConfigV1) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x6d2817ac))
}

func (v *KeyManagerDBConfigV1) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.RootContractVersion)
	return dst
}

func (v *KeyManagerDBConfigV1) decode(c *wire.Cursor) {
	v.RootContractVersion = c.Int()
}

// KeyManagerDBKey is the constructor keyManagerDb.key, of type keyManagerDb.Key.
type KeyManagerDBKey struct {
	PrivateKey              [32]byte
	KeyType                 int32
	ValidSinceConfigVersion int32
	ValidSinceUtime         int32
	ValidUntilUtime         int32
}

// TLID is the constructor's id.
func (*KeyManagerDBKey) TLID() uint32 { return 0x35c91007 }

// TLName is the name in the schema.
func (*KeyManagerDBKey) TLName() string { return "keyManagerDb.key" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyManagerDBKey) TLType() string { return "keyManagerDb.Key" }

// Size is how many bytes Append appends.
func (v *KeyManagerDBKey) Size() int { return 4 + v.bareSize() }

func (*KeyManagerDBKey) bareSize() int { return 48 }

// Append writes the value with its id.
func (v *KeyManagerDBKey) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x35c91007))
}

func (v *KeyManagerDBKey) bare(dst []byte) []byte {
	dst = append(dst, v.PrivateKey[:]...)
	dst = wire.AppendInt(dst, v.KeyType)
	dst = wire.AppendInt(dst, v.ValidSinceConfigVersion)
	dst = wire.AppendInt(dst, v.ValidSinceUtime)
	dst = wire.AppendInt(dst, v.ValidUntilUtime)
	return dst
}

func (v *KeyManagerDBKey) decode(c *wire.Cursor) {
	v.PrivateKey = int256(c)
	v.KeyType = c.Int()
	v.ValidSinceConfigVersion = c.Int()
	v.ValidSinceUtime = c.Int()
	v.ValidUntilUtime = c.Int()
}

// KeyStorageRunnerConfig is the constructor keyStorageRunner.config, of type keyStorageRunner.Config.
type KeyStorageRunnerConfig struct {
	IsTest                    bool
	IsTestnet                 bool
	AddDefaultKey             bool
	RPCPort                   int32
	HTTPPort                  int32
	OwnerAddress              string
	RootContractAddress       string
	MachineSpecificPrivateKey [32]byte
	NodeWalletKey             [32]byte
	TONConfigFilename         string
	DBPath                    string
	CheckHashes               bool
	ImageHash                 [32]byte
	HTTPAccessHash            string
}

// TLID is the constructor's id.
func (*KeyStorageRunnerConfig) TLID() uint32 { return 0xec650826 }

// TLName is the name in the schema.
func (*KeyStorageRunnerConfig) TLName() string { return "keyStorageRunner.config" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyStorageRunnerConfig) TLType() string { return "keyStorageRunner.Config" }

// Size is how many bytes Append appends.
func (v *KeyStorageRunnerConfig) Size() int { return 4 + v.bareSize() }

func (v *KeyStorageRunnerConfig) bareSize() int {
	return 120 + wire.BytesSize(len(v.OwnerAddress)) + wire.BytesSize(len(v.RootContractAddress)) + wire.BytesSize(len(v.TONConfigFilename)) + wire.BytesSize(len(v.DBPath)) + wire.BytesSize(len(v.HTTPAccessHash))
}

// Append writes the value with its id.
func (v *KeyStorageRunnerConfig) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xec650826))
}

func (v *KeyStorageRunnerConfig) bare(dst []byte) []byte {
	dst = wire.AppendBool(dst, v.IsTest)
	dst = wire.AppendBool(dst, v.IsTestnet)
	dst = wire.AppendBool(dst, v.AddDefaultKey)
	dst = wire.AppendInt(dst, v.RPCPort)
	dst = wire.AppendInt(dst, v.HTTPPort)
	dst = wire.AppendBytes(dst, v.OwnerAddress)
	dst = wire.AppendBytes(dst, v.RootContractAddress)
	dst = append(dst, v.MachineSpecificPrivateKey[:]...)
	dst = append(dst, v.NodeWalletKey[:]...)
	dst = wire.AppendBytes(dst, v.TONConfigFilename)
	dst = wire.AppendBytes(dst, v.DBPath)
	dst = wire.AppendBool(dst, v.CheckHashes)
	dst = append(dst, v.ImageHash[:]...)
	dst = wire.AppendBytes(dst, v.HTTPAccessHash)
	return dst
}

func (v *KeyStorageRunnerConfig) decode(c *wire.Cursor) {
	v.IsTest = c.Bool()
	v.IsTestnet = c.Bool()
	v.AddDefaultKey = c.Bool()
	v.RPCPort = c.Int()
	v.HTTPPort = c.Int()
	v.OwnerAddress = readString(c)
	v.RootContractAddress = readString(c)
	v.MachineSpecificPrivateKey = int256(c)
	v.NodeWalletKey = int256(c)
	v.TONConfigFilename = readString(c)
	v.DBPath = readString(c)
	v.CheckHashes = c.Bool()
	v.ImageHash = int256(c)
	v.HTTPAccessHash = readString(c)
}

// ProxyDBClientInfo is the constructor proxyDb.clientInfo, of type proxyDb.ClientInfo.
type ProxyDBClientInfo struct {
	OwnerAddress  string
	SCAddress     string
	Status        int32
	Balance       int64
	SCTokensUsed  int64
	TokensUsed    int64
	SecretHash    [32]byte
	LastRequestAt int32
}

// TLID is the constructor's id.
func (*ProxyDBClientInfo) TLID() uint32 { return 0x6cfeaa21 }

// TLName is the name in the schema.
func (*ProxyDBClientInfo) TLName() string { return "proxyDb.clientInfo" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyDBClientInfo) TLType() string { return "proxyDb.ClientInfo" }

// Size is how many bytes Append appends.
func (v *ProxyDBClientInfo) Size() int { return 4 + v.bareSize() }

func (v *ProxyDBClientInfo) bareSize() int {
	return 64 + wire.BytesSize(len(v.OwnerAddress)) + wire.BytesSize(len(v.SCAddress))
}

// Append writes the value with its id.
func (v *ProxyDBClientInfo) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x6cfeaa21))
}

func (v *ProxyDBClientInfo) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.OwnerAddress)
	dst = wire.AppendBytes(dst, v.SCAddress)
	dst = wire.AppendInt(dst, v.Status)
	dst = wire.AppendLong(dst, v.Balance)
	dst = wire.AppendLong(dst, v.SCTokensUsed)
	dst = wire.AppendLong(dst, v.TokensUsed)
	dst = append(dst, v.SecretHash[:]...)
	dst = wire.AppendInt(dst, v.LastRequestAt)
	return dst
}

func (v *ProxyDBClientInfo) decode(c *wire.Cursor) {
	v.OwnerAddress = readString(c)
	v.SCAddress = readString(c)
	v.Status = c.Int()
	v.Balance = c.Long()
	v.SCTokensUsed = c.Long()
	v.TokensUsed = c.Long()
	v.SecretHash = int256(c)
	v.LastRequestAt = c.Int()
}

// ProxyDBClientInfoV2 is the constructor proxyDb.clientInfoV2, of type proxyDb.ClientInfo.
type ProxyDBClientInfoV2 struct {
	OwnerAddress  string
	SCAddress     string
	Status        int32
	Balance       int64
	Stake         int64
	SCTokensUsed  int64
	TokensUsed    int64
	SecretHash    [32]byte
	LastRequestAt int32
}

// TLID is the constructor's id.
func (*ProxyDBClientInfoV2) TLID() uint32 { return 0x3078c9bf }

// TLName is the name in the schema.
func (*ProxyDBClientInfoV2) TLName() string { return "proxyDb.clientInfoV2" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyDBClientInfoV2) TLType() string { return "proxyDb.ClientInfo" }

// Size is how many bytes Append appends.
func (v *ProxyDBClientInfoV2) Size() int { return 4 + v.bareSize() }

func (v *ProxyDBClientInfoV2) bareSize() int {
	return 72 + wire.BytesSize(len(v.OwnerAddress)) + wire.BytesSize(len(v.SCAddress))
}

// Append writes the value with its id.
func (v *ProxyDBClientInfoV2) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x3078c9bf))
}

func (v *ProxyDBClientInfoV2) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.OwnerAddress)
	dst = wire.AppendBytes(dst, v.SCAddress)
	dst = wire.AppendInt(dst, v.Status)
	dst = wire.AppendLong(dst, v.Balance)
	dst = wire.AppendLong(dst, v.Stake)
	dst = wire.AppendLong(dst, v.SCTokensUsed)
	dst = wire.AppendLong(dst, v.TokensUsed)
	dst = append(dst, v.SecretHash[:]...)
	dst = wire.AppendInt(dst, v.LastRequestAt)
	return dst
}

func (v *ProxyDBClientInfoV2) decode(c *wire.Cursor) {
	v.OwnerAddress = readString(c)
	v.SCAddress = readString(c)
	v.Status = c.Int()
	v.Balance = c.Long()
	v.Stake = c.Long()
	v.SCTokensUsed = c.Long()
	v.TokensUsed = c.Long()
	v.SecretHash = int256(c)
	v.LastRequestAt = c.Int()
}

// ProxyDBConfigEmpty is the constructor proxyDb.configEmpty, of type proxyDb.Config.
type ProxyDBConfigEmpty struct {
}

// TLID is the constructor's id.
func (*ProxyDBConfigEmpty) TLID() uint32 { return 0x43dc40b4 }

// TLName is the name in the schema.
func (*ProxyDBConfigEmpty) TLName() string { return "proxyDb.configEmpty" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyDBConfigEmpty) TLType() string { return "proxyDb.Config" }

// Size is how many bytes Append appends.
func (v *ProxyDBConfigEmpty) Size() int { return 4 + v.bareSize() }

func (*ProxyDBConfigEmpty) bareSize() int { return 0 }

// Append writes the value with its id.
func (v *ProxyDBConfigEmpty) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x43dc40b4))
}

func (*ProxyDBConfigEmpty) bare(dst []byte) []byte { return dst }

func (*ProxyDBConfigEmpty) decode(*wire.Cursor) {}

// ProxyDBConfigV4 is the constructor proxyDb.configV4, of type proxyDb.Config.
type ProxyDBConfigV4 struct {
	RootContractAddress            string
	IsTestnet                      int32
	RootContractState              AnyRootConfigConfig
	RootContractStateBlockTS       int32
	SCBlockID                      TONBlockIdExt
	LastSeqnoCommittedToBlockchain int32
	PendingBlockchainSeqnoCommits  []ProxyDBPendingBlockchainSeqnoCommit
}

// TLID is the constructor's id.
func (*ProxyDBConfigV4) TLID() uint32 { return 0xbde43703 }

// TLName is the name in the schema.
func (*ProxyDBConfigV4) TLName() string { return "proxyDb.configV4" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyDBConfigV4) TLType() string { return "proxyDb.Config" }

// Size is how many bytes Append appends.
func (v *ProxyDBConfigV4) Size() int { return 4 + v.bareSize() }

func (v *ProxyDBConfigV4) bareSize() int {
	return 16 + wire.BytesSize(len(v.RootContractAddress)) + v.RootContractState.Size() + v.SCBlockID.bareSize() + 36*len(v.PendingBlockchainSeqnoCommits)
}

// Append writes the value with its id.
func (v *ProxyDBConfigV4) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xbde43703))
}

func (v *ProxyDBConfigV4) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.RootContractAddress)
	dst = wire.AppendInt(dst, v.IsTestnet)
	dst = v.RootContractState.Append(dst)
	dst = wire.AppendInt(dst, v.RootContractStateBlockTS)
	dst = v.SCBlockID.bare(dst)
	dst = wire.AppendInt(dst, v.LastSeqnoCommittedToBlockchain)
	dst = wire.AppendInt(dst, int32(len(v.PendingBlockchainSeqnoCommits))) //nolint:gosec // bounded by the frame
	for i := range v.PendingBlockchainSeqnoCommits {
		dst = v.PendingBlockchainSeqnoCommits[i].bare(dst)
	}
	return dst
}

func (v *ProxyDBConfigV4) decode(c *wire.Cursor) {
	v.RootContractAddress = readString(c)
	v.IsTestnet = c.Int()
	v.RootContractState = decodeAnyRootConfigConfig(c)
	v.RootContractStateBlockTS = c.Int()
	v.SCBlockID.decode(c)
	v.LastSeqnoCommittedToBlockchain = c.Int()
	v.PendingBlockchainSeqnoCommits = make([]ProxyDBPendingBlockchainSeqnoCommit, c.Count(36))
	for i := range v.PendingBlockchainSeqnoCommits {
		v.PendingBlockchainSeqnoCommits[i].decode(c)
	}
}

// ProxyDBConfigV4Disabled is the constructor proxyDb.configV4Disabled, of type proxyDb.Config.
type ProxyDBConfigV4Disabled struct {
	RootContractAddress      string
	IsTestnet                int32
	RootContractState        AnyRootConfigConfig
	RootContractStateBlockTS int32
	DisabledUntilVersion     int64
}

// TLID is the constructor's id.
func (*ProxyDBConfigV4Disabled) TLID() uint32 { return 0xad2cfb4a }

// TLName is the name in the schema.
func (*ProxyDBConfigV4Disabled) TLName() string { return "proxyDb.configV4Disabled" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyDBConfigV4Disabled) TLType() string { return "proxyDb.Config" }

// Size is how many bytes Append appends.
func (v *ProxyDBConfigV4Disabled) Size() int { return 4 + v.bareSize() }

func (v *ProxyDBConfigV4Disabled) bareSize() int {
	return 16 + wire.BytesSize(len(v.RootContractAddress)) + v.RootContractState.Size()
}

// Append writes the value with its id.
func (v *ProxyDBConfigV4Disabled) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xad2cfb4a))
}

func (v *ProxyDBConfigV4Disabled) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.RootContractAddress)
	dst = wire.AppendInt(dst, v.IsTestnet)
	dst = v.RootContractState.Append(dst)
	dst = wire.AppendInt(dst, v.RootContractStateBlockTS)
	dst = wire.AppendLong(dst, v.DisabledUntilVersion)
	return dst
}

func (v *ProxyDBConfigV4Disabled) decode(c *wire.Cursor) {
	v.RootContractAddress = readString(c)
	v.IsTestnet = c.Int()
	v.RootContractState = decodeAnyRootConfigConfig(c)
	v.RootContractStateBlockTS = c.Int()
	v.DisabledUntilVersion = c.Long()
}

// ProxyDBOldClient is the constructor proxyDb.oldClient, of type proxyDb.OldClient.
type ProxyDBOldClient struct {
	OwnerAddress string
	Tokens       int64
	NextClient   string
}

// TLID is the constructor's id.
func (*ProxyDBOldClient) TLID() uint32 { return 0x2fae7b42 }

// TLName is the name in the schema.
func (*ProxyDBOldClient) TLName() string { return "proxyDb.oldClient" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyDBOldClient) TLType() string { return "proxyDb.OldClient" }

// Size is how many bytes Append appends.
func (v *ProxyDBOldClient) Size() int { return 4 + v.bareSize() }

func (v *ProxyDBOldClient) bareSize() int {
	return 8 + wire.BytesSize(len(v.OwnerAddress)) + wire.BytesSize(len(v.NextClient))
}

// Append writes the value with its id.
func (v *ProxyDBOldClient) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x2fae7b42))
}

func (v *ProxyDBOldClient) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.OwnerAddress)
	dst = wire.AppendLong(dst, v.Tokens)
	dst = wire.AppendBytes(dst, v.NextClient)
	return dst
}

func (v *ProxyDBOldClient) decode(c *wire.Cursor) {
	v.OwnerAddress = readString(c)
	v.Tokens = c.Long()
	v.NextClient = readString(c)
}

// ProxyDBOldInstance is the constructor proxyDb.oldInstance, of type proxyDb.OldInstance.
type ProxyDBOldInstance struct {
	ContractAddress   string
	ClosingState      int32
	CloseAt           int32
	NextClient        string
	NextWorker        string
	RootContractState AnyRootConfigConfig
}

// TLID is the constructor's id.
func (*ProxyDBOldInstance) TLID() uint32 { return 0xa8c9e178 }

// TLName is the name in the schema.
func (*ProxyDBOldInstance) TLName() string { return "proxyDb.oldInstance" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyDBOldInstance) TLType() string { return "proxyDb.OldInstance" }

// Size is how many bytes Append appends.
func (v *ProxyDBOldInstance) Size() int { return 4 + v.bareSize() }

func (v *ProxyDBOldInstance) bareSize() int {
	return 8 + wire.BytesSize(len(v.ContractAddress)) + wire.BytesSize(len(v.NextClient)) + wire.BytesSize(len(v.NextWorker)) + v.RootContractState.Size()
}

// Append writes the value with its id.
func (v *ProxyDBOldInstance) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xa8c9e178))
}

func (v *ProxyDBOldInstance) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.ContractAddress)
	dst = wire.AppendInt(dst, v.ClosingState)
	dst = wire.AppendInt(dst, v.CloseAt)
	dst = wire.AppendBytes(dst, v.NextClient)
	dst = wire.AppendBytes(dst, v.NextWorker)
	dst = v.RootContractState.Append(dst)
	return dst
}

func (v *ProxyDBOldInstance) decode(c *wire.Cursor) {
	v.ContractAddress = readString(c)
	v.ClosingState = c.Int()
	v.CloseAt = c.Int()
	v.NextClient = readString(c)
	v.NextWorker = readString(c)
	v.RootContractState = decodeAnyRootConfigConfig(c)
}

// ProxyDBOldWorker is the constructor proxyDb.oldWorker, of type proxyDb.OldWorker.
type ProxyDBOldWorker struct {
	OwnerAddress string
	Tokens       int64
	NextWorker   string
}

// TLID is the constructor's id.
func (*ProxyDBOldWorker) TLID() uint32 { return 0xf04156a0 }

// TLName is the name in the schema.
func (*ProxyDBOldWorker) TLName() string { return "proxyDb.oldWorker" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyDBOldWorker) TLType() string { return "proxyDb.OldWorker" }

// Size is how many bytes Append appends.
func (v *ProxyDBOldWorker) Size() int { return 4 + v.bareSize() }

func (v *ProxyDBOldWorker) bareSize() int {
	return 8 + wire.BytesSize(len(v.OwnerAddress)) + wire.BytesSize(len(v.NextWorker))
}

// Append writes the value with its id.
func (v *ProxyDBOldWorker) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xf04156a0))
}

func (v *ProxyDBOldWorker) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.OwnerAddress)
	dst = wire.AppendLong(dst, v.Tokens)
	dst = wire.AppendBytes(dst, v.NextWorker)
	return dst
}

func (v *ProxyDBOldWorker) decode(c *wire.Cursor) {
	v.OwnerAddress = readString(c)
	v.Tokens = c.Long()
	v.NextWorker = readString(c)
}

// ProxyDBPendingBlockchainSeqnoCommit is the constructor proxyDb.pendingBlockchainSeqnoCommit, of type proxyDb.PendingBlockchainSeqnoCommit.
type ProxyDBPendingBlockchainSeqnoCommit struct {
	Seqno       int32
	SessionHash [32]byte
}

// TLID is the constructor's id.
func (*ProxyDBPendingBlockchainSeqnoCommit) TLID() uint32 { return 0x525b14a9 }

// TLName is the name in the schema.
func (*ProxyDBPendingBlockchainSeqnoCommit) TLName() string {
	return "proxyDb.pendingBlockchainSeqnoCommit"
}

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyDBPendingBlockchainSeqnoCommit) TLType() string {
	return "proxyDb.PendingBlockchainSeqnoCommit"
}

// Size is how many bytes Append appends.
func (v *ProxyDBPendingBlockchainSeqnoCommit) Size() int { return 4 + v.bareSize() }

func (*ProxyDBPendingBlockchainSeqnoCommit) bareSize() int { return 36 }

// Append writes the value with its id.
func (v *ProxyDBPendingBlockchainSeqnoCommit) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x525b14a9))
}

func (v *ProxyDBPendingBlockchainSeqnoCommit) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.Seqno)
	dst = append(dst, v.SessionHash[:]...)
	return dst
}

func (v *ProxyDBPendingBlockchainSeqnoCommit) decode(c *wire.Cursor) {
	v.Seqno = c.Int()
	v.SessionHash = int256(c)
}

// ProxyDBWorkerInfo is the constructor proxyDb.workerInfo, of type proxyDb.WorkerInfo.
type ProxyDBWorkerInfo struct {
	OwnerAddress  string
	SCAddress     string
	SCTokens      int64
	Tokens        int64
	LastRequestAt int32
}

// TLID is the constructor's id.
func (*ProxyDBWorkerInfo) TLID() uint32 { return 0x2517b38f }

// TLName is the name in the schema.
func (*ProxyDBWorkerInfo) TLName() string { return "proxyDb.workerInfo" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyDBWorkerInfo) TLType() string { return "proxyDb.WorkerInfo" }

// Size is how many bytes Append appends.
func (v *ProxyDBWorkerInfo) Size() int { return 4 + v.bareSize() }

func (v *ProxyDBWorkerInfo) bareSize() int {
	return 20 + wire.BytesSize(len(v.OwnerAddress)) + wire.BytesSize(len(v.SCAddress))
}

// Append writes the value with its id.
func (v *ProxyDBWorkerInfo) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x2517b38f))
}

func (v *ProxyDBWorkerInfo) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.OwnerAddress)
	dst = wire.AppendBytes(dst, v.SCAddress)
	dst = wire.AppendLong(dst, v.SCTokens)
	dst = wire.AppendLong(dst, v.Tokens)
	dst = wire.AppendInt(dst, v.LastRequestAt)
	return dst
}

func (v *ProxyDBWorkerInfo) decode(c *wire.Cursor) {
	v.OwnerAddress = readString(c)
	v.SCAddress = readString(c)
	v.SCTokens = c.Long()
	v.Tokens = c.Long()
	v.LastRequestAt = c.Int()
}

// ProxyRunnerConfig is the constructor proxyRunner.config, of type proxyRunner.Config.
type ProxyRunnerConfig struct {
	IsTest                    bool
	IsTestnet                 bool
	WorkersRPCPort            int32
	ClientRPCPort             int32
	HTTPPort                  int32
	OwnerAddress              string
	ConnectToProxyVia         string
	RootContractAddress       string
	MachineSpecificPrivateKey [32]byte
	NodeWalletKey             [32]byte
	TONConfigFilename         string
	DBPath                    string
	CheckWorkerHashes         bool
	ImageHash                 [32]byte
	HTTPAccessHash            string
}

// TLID is the constructor's id.
func (*ProxyRunnerConfig) TLID() uint32 { return 0x9a8f2045 }

// TLName is the name in the schema.
func (*ProxyRunnerConfig) TLName() string { return "proxyRunner.config" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyRunnerConfig) TLType() string { return "proxyRunner.Config" }

// Size is how many bytes Append appends.
func (v *ProxyRunnerConfig) Size() int { return 4 + v.bareSize() }

func (v *ProxyRunnerConfig) bareSize() int {
	return 120 + wire.BytesSize(len(v.OwnerAddress)) + wire.BytesSize(len(v.ConnectToProxyVia)) + wire.BytesSize(len(v.RootContractAddress)) + wire.BytesSize(len(v.TONConfigFilename)) + wire.BytesSize(len(v.DBPath)) + wire.BytesSize(len(v.HTTPAccessHash))
}

// Append writes the value with its id.
func (v *ProxyRunnerConfig) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x9a8f2045))
}

func (v *ProxyRunnerConfig) bare(dst []byte) []byte {
	dst = wire.AppendBool(dst, v.IsTest)
	dst = wire.AppendBool(dst, v.IsTestnet)
	dst = wire.AppendInt(dst, v.WorkersRPCPort)
	dst = wire.AppendInt(dst, v.ClientRPCPort)
	dst = wire.AppendInt(dst, v.HTTPPort)
	dst = wire.AppendBytes(dst, v.OwnerAddress)
	dst = wire.AppendBytes(dst, v.ConnectToProxyVia)
	dst = wire.AppendBytes(dst, v.RootContractAddress)
	dst = append(dst, v.MachineSpecificPrivateKey[:]...)
	dst = append(dst, v.NodeWalletKey[:]...)
	dst = wire.AppendBytes(dst, v.TONConfigFilename)
	dst = wire.AppendBytes(dst, v.DBPath)
	dst = wire.AppendBool(dst, v.CheckWorkerHashes)
	dst = append(dst, v.ImageHash[:]...)
	dst = wire.AppendBytes(dst, v.HTTPAccessHash)
	return dst
}

func (v *ProxyRunnerConfig) decode(c *wire.Cursor) {
	v.IsTest = c.Bool()
	v.IsTestnet = c.Bool()
	v.WorkersRPCPort = c.Int()
	v.ClientRPCPort = c.Int()
	v.HTTPPort = c.Int()
	v.OwnerAddress = readString(c)
	v.ConnectToProxyVia = readString(c)
	v.RootContractAddress = readString(c)
	v.MachineSpecificPrivateKey = int256(c)
	v.NodeWalletKey = int256(c)
	v.TONConfigFilename = readString(c)
	v.DBPath = readString(c)
	v.CheckWorkerHashes = c.Bool()
	v.ImageHash = int256(c)
	v.HTTPAccessHash = readString(c)
}

// RootConfigConfigV7 is the constructor rootConfig.configV7, of type rootConfig.Config.
type RootConfigConfigV7 struct {
	RootOwnerAddress                string
	ProxyHashes                     [][32]byte
	RegisteredProxies               []RootConfigRegisteredProxy
	LastProxySeqno                  int32
	WorkerHashes                    [][32]byte
	ModelHashes                     [][32]byte
	Version                         int32
	StructVersion                   int32
	ParamsVersion                   int32
	UniqueID                        int32
	IsTest                          int32
	PricePerToken                   int64
	WorkerFeePerToken               int64
	PromptTokensPriceMultiplier     int32
	CachedTokensPriceMultiplier     int32
	CompletionTokensPriceMultiplier int32
	ReasoningTokensPriceMultiplier  int32
	ProxyDelayBeforeClose           int32
	ClientDelayBeforeClose          int32
	MinProxyStake                   int64
	MinClientStake                  int64
	RegisteredPublicKeys            []RootConfigRegisteredPublicKey
	KeyManagerPublicKey             [32]byte
	KeyManagerImageHash             [32]byte
	KeyManagerAddress               string
	VerifiedProxyKeys               [][32]byte
	VerifiedWorkerKeys              [][32]byte
	VerifiedKeyManagerKeys          [][32]byte
	ProxySCCode                     string
	WorkerSCCode                    string
	ClientSCCode                    string
}

// TLID is the constructor's id.
func (*RootConfigConfigV7) TLID() uint32 { return 0xc51207cb }

// TLName is the name in the schema.
func (*RootConfigConfigV7) TLName() string { return "rootConfig.configV7" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*RootConfigConfigV7) TLType() string { return "rootConfig.Config" }

// Size is how many bytes Append appends.
func (v *RootConfigConfigV7) Size() int { return 4 + v.bareSize() }

func (v *RootConfigConfigV7) bareSize() int {
	n := 176 + wire.BytesSize(len(v.RootOwnerAddress)) + 32*len(v.ProxyHashes) + 32*len(v.WorkerHashes) + 32*len(v.ModelHashes) + 40*len(v.RegisteredPublicKeys) + wire.BytesSize(len(v.KeyManagerAddress)) + 32*len(v.VerifiedProxyKeys) + 32*len(v.VerifiedWorkerKeys) + 32*len(v.VerifiedKeyManagerKeys) + wire.BytesSize(len(v.ProxySCCode)) + wire.BytesSize(len(v.WorkerSCCode)) + wire.BytesSize(len(v.ClientSCCode))
	for i := range v.RegisteredProxies {
		n += v.RegisteredProxies[i].bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *RootConfigConfigV7) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xc51207cb))
}

func (v *RootConfigConfigV7) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.RootOwnerAddress)
	dst = wire.AppendInt(dst, int32(len(v.ProxyHashes))) //nolint:gosec // bounded by the frame
	for i := range v.ProxyHashes {
		dst = append(dst, v.ProxyHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.RegisteredProxies))) //nolint:gosec // bounded by the frame
	for i := range v.RegisteredProxies {
		dst = v.RegisteredProxies[i].bare(dst)
	}
	dst = wire.AppendInt(dst, v.LastProxySeqno)
	dst = wire.AppendInt(dst, int32(len(v.WorkerHashes))) //nolint:gosec // bounded by the frame
	for i := range v.WorkerHashes {
		dst = append(dst, v.WorkerHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.ModelHashes))) //nolint:gosec // bounded by the frame
	for i := range v.ModelHashes {
		dst = append(dst, v.ModelHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, v.Version)
	dst = wire.AppendInt(dst, v.StructVersion)
	dst = wire.AppendInt(dst, v.ParamsVersion)
	dst = wire.AppendInt(dst, v.UniqueID)
	dst = wire.AppendInt(dst, v.IsTest)
	dst = wire.AppendLong(dst, v.PricePerToken)
	dst = wire.AppendLong(dst, v.WorkerFeePerToken)
	dst = wire.AppendInt(dst, v.PromptTokensPriceMultiplier)
	dst = wire.AppendInt(dst, v.CachedTokensPriceMultiplier)
	dst = wire.AppendInt(dst, v.CompletionTokensPriceMultiplier)
	dst = wire.AppendInt(dst, v.ReasoningTokensPriceMultiplier)
	dst = wire.AppendInt(dst, v.ProxyDelayBeforeClose)
	dst = wire.AppendInt(dst, v.ClientDelayBeforeClose)
	dst = wire.AppendLong(dst, v.MinProxyStake)
	dst = wire.AppendLong(dst, v.MinClientStake)
	dst = wire.AppendInt(dst, int32(len(v.RegisteredPublicKeys))) //nolint:gosec // bounded by the frame
	for i := range v.RegisteredPublicKeys {
		dst = v.RegisteredPublicKeys[i].bare(dst)
	}
	dst = append(dst, v.KeyManagerPublicKey[:]...)
	dst = append(dst, v.KeyManagerImageHash[:]...)
	dst = wire.AppendBytes(dst, v.KeyManagerAddress)
	dst = wire.AppendInt(dst, int32(len(v.VerifiedProxyKeys))) //nolint:gosec // bounded by the frame
	for i := range v.VerifiedProxyKeys {
		dst = append(dst, v.VerifiedProxyKeys[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.VerifiedWorkerKeys))) //nolint:gosec // bounded by the frame
	for i := range v.VerifiedWorkerKeys {
		dst = append(dst, v.VerifiedWorkerKeys[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.VerifiedKeyManagerKeys))) //nolint:gosec // bounded by the frame
	for i := range v.VerifiedKeyManagerKeys {
		dst = append(dst, v.VerifiedKeyManagerKeys[i][:]...)
	}
	dst = wire.AppendBytes(dst, v.ProxySCCode)
	dst = wire.AppendBytes(dst, v.WorkerSCCode)
	dst = wire.AppendBytes(dst, v.ClientSCCode)
	return dst
}

func (v *RootConfigConfigV7) decode(c *wire.Cursor) {
	v.RootOwnerAddress = readString(c)
	v.ProxyHashes = make([][32]byte, c.Count(32))
	for i := range v.ProxyHashes {
		v.ProxyHashes[i] = int256(c)
	}
	v.RegisteredProxies = make([]RootConfigRegisteredProxy, c.Count(8))
	for i := range v.RegisteredProxies {
		v.RegisteredProxies[i].decode(c)
	}
	v.LastProxySeqno = c.Int()
	v.WorkerHashes = make([][32]byte, c.Count(32))
	for i := range v.WorkerHashes {
		v.WorkerHashes[i] = int256(c)
	}
	v.ModelHashes = make([][32]byte, c.Count(32))
	for i := range v.ModelHashes {
		v.ModelHashes[i] = int256(c)
	}
	v.Version = c.Int()
	v.StructVersion = c.Int()
	v.ParamsVersion = c.Int()
	v.UniqueID = c.Int()
	v.IsTest = c.Int()
	v.PricePerToken = c.Long()
	v.WorkerFeePerToken = c.Long()
	v.PromptTokensPriceMultiplier = c.Int()
	v.CachedTokensPriceMultiplier = c.Int()
	v.CompletionTokensPriceMultiplier = c.Int()
	v.ReasoningTokensPriceMultiplier = c.Int()
	v.ProxyDelayBeforeClose = c.Int()
	v.ClientDelayBeforeClose = c.Int()
	v.MinProxyStake = c.Long()
	v.MinClientStake = c.Long()
	v.RegisteredPublicKeys = make([]RootConfigRegisteredPublicKey, c.Count(40))
	for i := range v.RegisteredPublicKeys {
		v.RegisteredPublicKeys[i].decode(c)
	}
	v.KeyManagerPublicKey = int256(c)
	v.KeyManagerImageHash = int256(c)
	v.KeyManagerAddress = readString(c)
	v.VerifiedProxyKeys = make([][32]byte, c.Count(32))
	for i := range v.VerifiedProxyKeys {
		v.VerifiedProxyKeys[i] = int256(c)
	}
	v.VerifiedWorkerKeys = make([][32]byte, c.Count(32))
	for i := range v.VerifiedWorkerKeys {
		v.VerifiedWorkerKeys[i] = int256(c)
	}
	v.VerifiedKeyManagerKeys = make([][32]byte, c.Count(32))
	for i := range v.VerifiedKeyManagerKeys {
		v.VerifiedKeyManagerKeys[i] = int256(c)
	}
	v.ProxySCCode = readString(c)
	v.WorkerSCCode = readString(c)
	v.ClientSCCode = readString(c)
}

// RootConfigPseudo is the constructor rootConfig.pseudo, of type rootConfig.Config.
type RootConfigPseudo struct {
	ProxyHashes          [][32]byte
	WorkerHashes         [][32]byte
	ModelHashes          [][32]byte
	ModelTypes           []string
	RegisteredProxies    []RootConfigRegisteredProxy
	PricePerToken        int32
	WorkerFeePerToken    int32
	LastProxySeqno       int32
	Version              int32
	ParamsVersion        int32
	RegisteredPublicKeys []RootConfigRegisteredPublicKey
	KeyManagerAddress    string
	ProxySCCode          string
	WorkerSCCode         string
	ClientSCCode         string
	RootOwnerAddress     string
}

// TLID is the constructor's id.
func (*RootConfigPseudo) TLID() uint32 { return 0xd0035db6 }

// TLName is the name in the schema.
func (*RootConfigPseudo) TLName() string { return "rootConfig.pseudo" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*RootConfigPseudo) TLType() string { return "rootConfig.Config" }

// Size is how many bytes Append appends.
func (v *RootConfigPseudo) Size() int { return 4 + v.bareSize() }

func (v *RootConfigPseudo) bareSize() int {
	n := 44 + 32*len(v.ProxyHashes) + 32*len(v.WorkerHashes) + 32*len(v.ModelHashes) + 40*len(v.RegisteredPublicKeys) + wire.BytesSize(len(v.KeyManagerAddress)) + wire.BytesSize(len(v.ProxySCCode)) + wire.BytesSize(len(v.WorkerSCCode)) + wire.BytesSize(len(v.ClientSCCode)) + wire.BytesSize(len(v.RootOwnerAddress))
	for i := range v.ModelTypes {
		n += wire.BytesSize(len(v.ModelTypes[i]))
	}
	for i := range v.RegisteredProxies {
		n += v.RegisteredProxies[i].bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *RootConfigPseudo) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xd0035db6))
}

func (v *RootConfigPseudo) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, int32(len(v.ProxyHashes))) //nolint:gosec // bounded by the frame
	for i := range v.ProxyHashes {
		dst = append(dst, v.ProxyHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.WorkerHashes))) //nolint:gosec // bounded by the frame
	for i := range v.WorkerHashes {
		dst = append(dst, v.WorkerHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.ModelHashes))) //nolint:gosec // bounded by the frame
	for i := range v.ModelHashes {
		dst = append(dst, v.ModelHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.ModelTypes))) //nolint:gosec // bounded by the frame
	for i := range v.ModelTypes {
		dst = wire.AppendBytes(dst, v.ModelTypes[i])
	}
	dst = wire.AppendInt(dst, int32(len(v.RegisteredProxies))) //nolint:gosec // bounded by the frame
	for i := range v.RegisteredProxies {
		dst = v.RegisteredProxies[i].bare(dst)
	}
	dst = wire.AppendInt(dst, v.PricePerToken)
	dst = wire.AppendInt(dst, v.WorkerFeePerToken)
	dst = wire.AppendInt(dst, v.LastProxySeqno)
	dst = wire.AppendInt(dst, v.Version)
	dst = wire.AppendInt(dst, v.ParamsVersion)
	dst = wire.AppendInt(dst, int32(len(v.RegisteredPublicKeys))) //nolint:gosec // bounded by the frame
	for i := range v.RegisteredPublicKeys {
		dst = v.RegisteredPublicKeys[i].bare(dst)
	}
	dst = wire.AppendBytes(dst, v.KeyManagerAddress)
	dst = wire.AppendBytes(dst, v.ProxySCCode)
	dst = wire.AppendBytes(dst, v.WorkerSCCode)
	dst = wire.AppendBytes(dst, v.ClientSCCode)
	dst = wire.AppendBytes(dst, v.RootOwnerAddress)
	return dst
}

func (v *RootConfigPseudo) decode(c *wire.Cursor) {
	v.ProxyHashes = make([][32]byte, c.Count(32))
	for i := range v.ProxyHashes {
		v.ProxyHashes[i] = int256(c)
	}
	v.WorkerHashes = make([][32]byte, c.Count(32))
	for i := range v.WorkerHashes {
		v.WorkerHashes[i] = int256(c)
	}
	v.ModelHashes = make([][32]byte, c.Count(32))
	for i := range v.ModelHashes {
		v.ModelHashes[i] = int256(c)
	}
	v.ModelTypes = make([]string, c.Count(4))
	for i := range v.ModelTypes {
		v.ModelTypes[i] = readString(c)
	}
	v.RegisteredProxies = make([]RootConfigRegisteredProxy, c.Count(8))
	for i := range v.RegisteredProxies {
		v.RegisteredProxies[i].decode(c)
	}
	v.PricePerToken = c.Int()
	v.WorkerFeePerToken = c.Int()
	v.LastProxySeqno = c.Int()
	v.Version = c.Int()
	v.ParamsVersion = c.Int()
	v.RegisteredPublicKeys = make([]RootConfigRegisteredPublicKey, c.Count(40))
	for i := range v.RegisteredPublicKeys {
		v.RegisteredPublicKeys[i].decode(c)
	}
	v.KeyManagerAddress = readString(c)
	v.ProxySCCode = readString(c)
	v.WorkerSCCode = readString(c)
	v.ClientSCCode = readString(c)
	v.RootOwnerAddress = readString(c)
}

// RootConfigRegisteredProxy is the constructor rootConfig.registeredProxy, of type rootConfig.RegisteredProxy.
type RootConfigRegisteredProxy struct {
	Seqno   int32
	Address string
}

// TLID is the constructor's id.
func (*RootConfigRegisteredProxy) TLID() uint32 { return 0x9f4e446a }

// TLName is the name in the schema.
func (*RootConfigRegisteredProxy) TLName() string { return "rootConfig.registeredProxy" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*RootConfigRegisteredProxy) TLType() string { return "rootConfig.RegisteredProxy" }

// Size is how many bytes Append appends.
func (v *RootConfigRegisteredProxy) Size() int { return 4 + v.bareSize() }

func (v *RootConfigRegisteredProxy) bareSize() int { return 4 + wire.BytesSize(len(v.Address)) }

// Append writes the value with its id.
func (v *RootConfigRegisteredProxy) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x9f4e446a))
}

func (v *RootConfigRegisteredProxy) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.Seqno)
	dst = wire.AppendBytes(dst, v.Address)
	return dst
}

func (v *RootConfigRegisteredProxy) decode(c *wire.Cursor) {
	v.Seqno = c.Int()
	v.Address = readString(c)
}

// RootConfigRegisteredPublicKey is the constructor rootConfig.registeredPublicKey, of type rootConfig.RegisteredPublicKey.
type RootConfigRegisteredPublicKey struct {
	PublicKey [32]byte
	KeyType   int32
	ExpireAt  int32
}

// TLID is the constructor's id.
func (*RootConfigRegisteredPublicKey) TLID() uint32 { return 0x37312ecd }

// TLName is the name in the schema.
func (*RootConfigRegisteredPublicKey) TLName() string { return "rootConfig.registeredPublicKey" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*RootConfigRegisteredPublicKey) TLType() string { return "rootConfig.RegisteredPublicKey" }

// Size is how many bytes Append appends.
func (v *RootConfigRegisteredPublicKey) Size() int { return 4 + v.bareSize() }

func (*RootConfigRegisteredPublicKey) bareSize() int { return 40 }

// Append writes the value with its id.
func (v *RootConfigRegisteredPublicKey) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x37312ecd))
}

func (v *RootConfigRegisteredPublicKey) bare(dst []byte) []byte {
	dst = append(dst, v.PublicKey[:]...)
	dst = wire.AppendInt(dst, v.KeyType)
	dst = wire.AppendInt(dst, v.ExpireAt)
	return dst
}

func (v *RootConfigRegisteredPublicKey) decode(c *wire.Cursor) {
	v.PublicKey = int256(c)
	v.KeyType = c.Int()
	v.ExpireAt = c.Int()
}

// TONBlockIdExt is the constructor ton.blockIdExt, of type ton.BlockIdExt.
type TONBlockIdExt struct {
	Workchain int32
	Shard     int64
	Seqno     int32
	RootHash  []byte
	FileHash  []byte
}

// TLID is the constructor's id.
func (*TONBlockIdExt) TLID() uint32 { return 0xbc3f6da5 }

// TLName is the name in the schema.
func (*TONBlockIdExt) TLName() string { return "ton.blockIdExt" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TONBlockIdExt) TLType() string { return "ton.BlockIdExt" }

// Size is how many bytes Append appends.
func (v *TONBlockIdExt) Size() int { return 4 + v.bareSize() }

func (v *TONBlockIdExt) bareSize() int {
	return 16 + wire.BytesSize(len(v.RootHash)) + wire.BytesSize(len(v.FileHash))
}

// Append writes the value with its id.
func (v *TONBlockIdExt) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xbc3f6da5))
}

func (v *TONBlockIdExt) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.Workchain)
	dst = wire.AppendLong(dst, v.Shard)
	dst = wire.AppendInt(dst, v.Seqno)
	dst = wire.AppendBytes(dst, v.RootHash)
	dst = wire.AppendBytes(dst, v.FileHash)
	return dst
}

func (v *TONBlockIdExt) decode(c *wire.Cursor) {
	v.Workchain = c.Int()
	v.Shard = c.Long()
	v.Seqno = c.Int()
	v.RootHash = c.Own(MaxBytes)
	v.FileHash = c.Own(MaxBytes)
}

// WorkerRunnerConfig is the constructor workerRunner.config, of type workerRunner.Config.
type WorkerRunnerConfig struct {
	IsTest                 bool
	IsTestnet              bool
	HTTPPort               int32
	OwnerAddress           string
	ProxyConnections       int32
	ConnectToProxyVia      string
	ModelName              string
	Coefficient            int32
	RootContractAddress    string
	NodeWalletKey          [32]byte
	ForwardRequestsTo      string
	TONConfigFilename      string
	CheckProxyHashes       bool
	MaxActiveRequests      int32
	ImageHash              [32]byte
	HTTPAccessHash         string
	ChangeModelScript      string
	MachineDescriptionJSON string
}

// TLID is the constructor's id.
func (*WorkerRunnerConfig) TLID() uint32 { return 0x41af605f }

// TLName is the name in the schema.
func (*WorkerRunnerConfig) TLName() string { return "workerRunner.config" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerRunnerConfig) TLType() string { return "workerRunner.Config" }

// Size is how many bytes Append appends.
func (v *WorkerRunnerConfig) Size() int { return 4 + v.bareSize() }

func (v *WorkerRunnerConfig) bareSize() int {
	return 92 + wire.BytesSize(len(v.OwnerAddress)) + wire.BytesSize(len(v.ConnectToProxyVia)) + wire.BytesSize(len(v.ModelName)) + wire.BytesSize(len(v.RootContractAddress)) + wire.BytesSize(len(v.ForwardRequestsTo)) + wire.BytesSize(len(v.TONConfigFilename)) + wire.BytesSize(len(v.HTTPAccessHash)) + wire.BytesSize(len(v.ChangeModelScript)) + wire.BytesSize(len(v.MachineDescriptionJSON))
}

// Append writes the value with its id.
func (v *WorkerRunnerConfig) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x41af605f))
}

func (v *WorkerRunnerConfig) bare(dst []byte) []byte {
	dst = wire.AppendBool(dst, v.IsTest)
	dst = wire.AppendBool(dst, v.IsTestnet)
	dst = wire.AppendInt(dst, v.HTTPPort)
	dst = wire.AppendBytes(dst, v.OwnerAddress)
	dst = wire.AppendInt(dst, v.ProxyConnections)
	dst = wire.AppendBytes(dst, v.ConnectToProxyVia)
	dst = wire.AppendBytes(dst, v.ModelName)
	dst = wire.AppendInt(dst, v.Coefficient)
	dst = wire.AppendBytes(dst, v.RootContractAddress)
	dst = append(dst, v.NodeWalletKey[:]...)
	dst = wire.AppendBytes(dst, v.ForwardRequestsTo)
	dst = wire.AppendBytes(dst, v.TONConfigFilename)
	dst = wire.AppendBool(dst, v.CheckProxyHashes)
	dst = wire.AppendInt(dst, v.MaxActiveRequests)
	dst = append(dst, v.ImageHash[:]...)
	dst = wire.AppendBytes(dst, v.HTTPAccessHash)
	dst = wire.AppendBytes(dst, v.ChangeModelScript)
	dst = wire.AppendBytes(dst, v.MachineDescriptionJSON)
	return dst
}

func (v *WorkerRunnerConfig) decode(c *wire.Cursor) {
	v.IsTest = c.Bool()
	v.IsTestnet = c.Bool()
	v.HTTPPort = c.Int()
	v.OwnerAddress = readString(c)
	v.ProxyConnections = c.Int()
	v.ConnectToProxyVia = readString(c)
	v.ModelName = readString(c)
	v.Coefficient = c.Int()
	v.RootContractAddress = readString(c)
	v.NodeWalletKey = int256(c)
	v.ForwardRequestsTo = readString(c)
	v.TONConfigFilename = readString(c)
	v.CheckProxyHashes = c.Bool()
	v.MaxActiveRequests = c.Int()
	v.ImageHash = int256(c)
	v.HTTPAccessHash = readString(c)
	v.ChangeModelScript = readString(c)
	v.MachineDescriptionJSON = readString(c)
}

// ClientAuthorizeWithProxyLong is the function client.authorizeWithProxyLong, of type client.AuthorizationWithProxy.
type ClientAuthorizeWithProxyLong struct {
}

// TLID is the constructor's id.
func (*ClientAuthorizeWithProxyLong) TLID() uint32 { return 0xd3474303 }

// TLName is the name in the schema.
func (*ClientAuthorizeWithProxyLong) TLName() string { return "client.authorizeWithProxyLong" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientAuthorizeWithProxyLong) TLType() string { return "client.AuthorizationWithProxy" }

func (*ClientAuthorizeWithProxyLong) isFunction() {}

// Size is how many bytes Append appends.
func (v *ClientAuthorizeWithProxyLong) Size() int { return 4 + v.bareSize() }

func (*ClientAuthorizeWithProxyLong) bareSize() int { return 0 }

// Append writes the value with its id.
func (v *ClientAuthorizeWithProxyLong) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xd3474303))
}

func (*ClientAuthorizeWithProxyLong) bare(dst []byte) []byte { return dst }

func (*ClientAuthorizeWithProxyLong) decode(*wire.Cursor) {}

// ClientAuthorizeWithProxyShort is the function client.authorizeWithProxyShort, of type client.AuthorizationWithProxy.
type ClientAuthorizeWithProxyShort struct {
	Data []byte
}

// TLID is the constructor's id.
func (*ClientAuthorizeWithProxyShort) TLID() uint32 { return 0x6c276723 }

// TLName is the name in the schema.
func (*ClientAuthorizeWithProxyShort) TLName() string { return "client.authorizeWithProxyShort" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientAuthorizeWithProxyShort) TLType() string { return "client.AuthorizationWithProxy" }

func (*ClientAuthorizeWithProxyShort) isFunction() {}

// Size is how many bytes Append appends.
func (v *ClientAuthorizeWithProxyShort) Size() int { return 4 + v.bareSize() }

func (v *ClientAuthorizeWithProxyShort) bareSize() int { return wire.BytesSize(len(v.Data)) }

// Append writes the value with its id.
func (v *ClientAuthorizeWithProxyShort) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x6c276723))
}

func (v *ClientAuthorizeWithProxyShort) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Data)
	return dst
}

func (v *ClientAuthorizeWithProxyShort) decode(c *wire.Cursor) {
	v.Data = c.Own(MaxBytes)
}

// ClientConnectToProxy is the function client.connectToProxy, of type client.ConnectedToProxy.
type ClientConnectToProxy struct {
	Params           ClientParams
	MinConfigVersion int32
}

// TLID is the constructor's id.
func (*ClientConnectToProxy) TLID() uint32 { return 0xff5fa0f4 }

// TLName is the name in the schema.
func (*ClientConnectToProxy) TLName() string { return "client.connectToProxy" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientConnectToProxy) TLType() string { return "client.ConnectedToProxy" }

func (*ClientConnectToProxy) isFunction() {}

// Size is how many bytes Append appends.
func (v *ClientConnectToProxy) Size() int { return 4 + v.bareSize() }

func (v *ClientConnectToProxy) bareSize() int { return 4 + v.Params.bareSize() }

// Append writes the value with its id.
func (v *ClientConnectToProxy) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xff5fa0f4))
}

func (v *ClientConnectToProxy) bare(dst []byte) []byte {
	dst = v.Params.bare(dst)
	dst = wire.AppendInt(dst, v.MinConfigVersion)
	return dst
}

func (v *ClientConnectToProxy) decode(c *wire.Cursor) {
	v.Params.decode(c)
	v.MinConfigVersion = c.Int()
}

// ClientGetWorkerTypes is the function client.getWorkerTypes, of type client.WorkerTypes.
type ClientGetWorkerTypes struct {
}

// TLID is the constructor's id.
func (*ClientGetWorkerTypes) TLID() uint32 { return 0x7f062bdb }

// TLName is the name in the schema.
func (*ClientGetWorkerTypes) TLName() string { return "client.getWorkerTypes" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientGetWorkerTypes) TLType() string { return "client.WorkerTypes" }

func (*ClientGetWorkerTypes) isFunction() {}

// Size is how many bytes Append appends.
func (v *ClientGetWorkerTypes) Size() int { return 4 + v.bareSize() }

func (*ClientGetWorkerTypes) bareSize() int { return 0 }

// Append writes the value with its id.
func (v *ClientGetWorkerTypes) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x7f062bdb))
}

func (*ClientGetWorkerTypes) bare(dst []byte) []byte { return dst }

func (*ClientGetWorkerTypes) decode(*wire.Cursor) {}

// ClientGetWorkerTypesV2 is the function client.getWorkerTypesV2, of type client.WorkerTypesV2.
type ClientGetWorkerTypesV2 struct {
}

// TLID is the constructor's id.
func (*ClientGetWorkerTypesV2) TLID() uint32 { return 0xb2133d72 }

// TLName is the name in the schema.
func (*ClientGetWorkerTypesV2) TLName() string { return "client.getWorkerTypesV2" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientGetWorkerTypesV2) TLType() string { return "client.WorkerTypesV2" }

func (*ClientGetWorkerTypesV2) isFunction() {}

// Size is how many bytes Append appends.
func (v *ClientGetWorkerTypesV2) Size() int { return 4 + v.bareSize() }

func (*ClientGetWorkerTypesV2) bareSize() int { return 0 }

// Append writes the value with its id.
func (v *ClientGetWorkerTypesV2) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xb2133d72))
}

func (*ClientGetWorkerTypesV2) bare(dst []byte) []byte { return dst }

func (*ClientGetWorkerTypesV2) decode(*wire.Cursor) {}

// ClientRequestRefund is the function client.requestRefund, of type client.Refund.
type ClientRequestRefund struct {
}

// TLID is the constructor's id.
func (*ClientRequestRefund) TLID() uint32 { return 0x238d863d }

// TLName is the name in the schema.
func (*ClientRequestRefund) TLName() string { return "client.requestRefund" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientRequestRefund) TLType() string { return "client.Refund" }

func (*ClientRequestRefund) isFunction() {}

// Size is how many bytes Append appends.
func (v *ClientRequestRefund) Size() int { return 4 + v.bareSize() }

func (*ClientRequestRefund) bareSize() int { return 0 }

// Append writes the value with its id.
func (v *ClientRequestRefund) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x238d863d))
}

func (*ClientRequestRefund) bare(dst []byte) []byte { return dst }

func (*ClientRequestRefund) decode(*wire.Cursor) {}

// ClientRunQuery is the function client.runQuery, of type client.QueryAnswer.
type ClientRunQuery struct {
	ModelName        string
	Query            []byte
	MaxCoefficient   int32
	MaxTokens        int32
	Timeout          float64
	RequestID        [32]byte
	MinConfigVersion int32
}

// TLID is the constructor's id.
func (*ClientRunQuery) TLID() uint32 { return 0xbc748f32 }

// TLName is the name in the schema.
func (*ClientRunQuery) TLName() string { return "client.runQuery" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientRunQuery) TLType() string { return "client.QueryAnswer" }

func (*ClientRunQuery) isFunction() {}

// Size is how many bytes Append appends.
func (v *ClientRunQuery) Size() int { return 4 + v.bareSize() }

func (v *ClientRunQuery) bareSize() int {
	return 52 + wire.BytesSize(len(v.ModelName)) + wire.BytesSize(len(v.Query))
}

// Append writes the value with its id.
func (v *ClientRunQuery) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xbc748f32))
}

func (v *ClientRunQuery) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.ModelName)
	dst = wire.AppendBytes(dst, v.Query)
	dst = wire.AppendInt(dst, v.MaxCoefficient)
	dst = wire.AppendInt(dst, v.MaxTokens)
	dst = wire.AppendDouble(dst, v.Timeout)
	dst = append(dst, v.RequestID[:]...)
	dst = wire.AppendInt(dst, v.MinConfigVersion)
	return dst
}

func (v *ClientRunQuery) decode(c *wire.Cursor) {
	v.ModelName = readString(c)
	v.Query = c.Own(MaxBytes)
	v.MaxCoefficient = c.Int()
	v.MaxTokens = c.Int()
	v.Timeout = c.Double()
	v.RequestID = int256(c)
	v.MinConfigVersion = c.Int()
}

// ClientRunQueryEx is the function client.runQueryEx, of type client.QueryAnswerEx.
type ClientRunQueryEx struct {
	ModelName        string
	Query            []byte
	MaxCoefficient   int32
	MaxTokens        int32
	Timeout          float64
	RequestID        [32]byte
	MinConfigVersion int32
	EnableDebug      *bool
	PublicKey        *[32]byte
}

// TLID is the constructor's id.
func (*ClientRunQueryEx) TLID() uint32 { return 0xf54cb74b }

// TLName is the name in the schema.
func (*ClientRunQueryEx) TLName() string { return "client.runQueryEx" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientRunQueryEx) TLType() string { return "client.QueryAnswerEx" }

func (*ClientRunQueryEx) isFunction() {}

// Size is how many bytes Append appends.
func (v *ClientRunQueryEx) Size() int { return 4 + v.bareSize() }

func (v *ClientRunQueryEx) bareSize() int {
	n := 56 + wire.BytesSize(len(v.ModelName)) + wire.BytesSize(len(v.Query))
	if v.EnableDebug != nil {
		n += 4
	}
	if v.PublicKey != nil {
		n += 32
	}
	return n
}

// Append writes the value with its id.
func (v *ClientRunQueryEx) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xf54cb74b))
}

func (v *ClientRunQueryEx) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.ModelName)
	dst = wire.AppendBytes(dst, v.Query)
	dst = wire.AppendInt(dst, v.MaxCoefficient)
	dst = wire.AppendInt(dst, v.MaxTokens)
	dst = wire.AppendDouble(dst, v.Timeout)
	dst = append(dst, v.RequestID[:]...)
	dst = wire.AppendInt(dst, v.MinConfigVersion)
	var flags uint32
	if v.EnableDebug != nil {
		flags |= 1 << 0
	}
	if v.PublicKey != nil {
		flags |= 1 << 1
	}
	dst = wire.AppendUint(dst, flags)
	if flags&(1<<0) != 0 {
		dst = wire.AppendBool(dst, orZero(v.EnableDebug))
	}
	if flags&(1<<1) != 0 {
		x := orZero(v.PublicKey)
		dst = append(dst, x[:]...)
	}
	return dst
}

func (v *ClientRunQueryEx) decode(c *wire.Cursor) {
	v.ModelName = readString(c)
	v.Query = c.Own(MaxBytes)
	v.MaxCoefficient = c.Int()
	v.MaxTokens = c.Int()
	v.Timeout = c.Double()
	v.RequestID = int256(c)
	v.MinConfigVersion = c.Int()
	flags := c.Flags(0x3)
	if flags&(1<<0) != 0 {
		v.EnableDebug = new(bool)
		*v.EnableDebug = c.Bool()
	}
	if flags&(1<<1) != 0 {
		v.PublicKey = new([32]byte)
		*v.PublicKey = int256(c)
	}
}

// ClientUpdatePaymentStatus is the function client.updatePaymentStatus, of type client.PaymentStatus.
type ClientUpdatePaymentStatus struct {
}

// TLID is the constructor's id.
func (*ClientUpdatePaymentStatus) TLID() uint32 { return 0x9ed1c697 }

// TLName is the name in the schema.
func (*ClientUpdatePaymentStatus) TLName() string { return "client.updatePaymentStatus" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientUpdatePaymentStatus) TLType() string { return "client.PaymentStatus" }

func (*ClientUpdatePaymentStatus) isFunction() {}

// Size is how many bytes Append appends.
func (v *ClientUpdatePaymentStatus) Size() int { return 4 + v.bareSize() }

func (*ClientUpdatePaymentStatus) bareSize() int { return 0 }

// Append writes the value with its id.
func (v *ClientUpdatePaymentStatus) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x9ed1c697))
}

func (*ClientUpdatePaymentStatus) bare(dst []byte) []byte { return dst }

func (*ClientUpdatePaymentStatus) decode(*wire.Cursor) {}

// HTTPRequest is the function http.request, of type http.Response.
type HTTPRequest struct {
	Method      string
	URL         string
	HTTPVersion string
	Headers     []HTTPHeader
	Payload     []byte
}

// TLID is the constructor's id.
func (*HTTPRequest) TLID() uint32 { return 0x47492de5 }

// TLName is the name in the schema.
func (*HTTPRequest) TLName() string { return "http.request" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*HTTPRequest) TLType() string { return "http.Response" }

func (*HTTPRequest) isFunction() {}

// Size is how many bytes Append appends.
func (v *HTTPRequest) Size() int { return 4 + v.bareSize() }

func (v *HTTPRequest) bareSize() int {
	n := 4 + wire.BytesSize(len(v.Method)) + wire.BytesSize(len(v.URL)) + wire.BytesSize(len(v.HTTPVersion)) + wire.BytesSize(len(v.Payload))
	for i := range v.Headers {
		n += v.Headers[i].bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *HTTPRequest) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x47492de5))
}

func (v *HTTPRequest) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Method)
	dst = wire.AppendBytes(dst, v.URL)
	dst = wire.AppendBytes(dst, v.HTTPVersion)
	dst = wire.AppendInt(dst, int32(len(v.Headers))) //nolint:gosec // bounded by the frame
	for i := range v.Headers {
		dst = v.Headers[i].bare(dst)
	}
	dst = wire.AppendBytes(dst, v.Payload)
	return dst
}

func (v *HTTPRequest) decode(c *wire.Cursor) {
	v.Method = readString(c)
	v.URL = readString(c)
	v.HTTPVersion = readString(c)
	v.Headers = make([]HTTPHeader, c.Count(8))
	for i := range v.Headers {
		v.Headers[i].decode(c)
	}
	v.Payload = c.Own(MaxBytes)
}

// KeyManagerGetProxyPrivateKeys is the function keyManager.getProxyPrivateKeys, of type keyManager.PrivateKeys.
type KeyManagerGetProxyPrivateKeys struct {
	ProtoVersion int32
}

// TLID is the constructor's id.
func (*KeyManagerGetProxyPrivateKeys) TLID() uint32 { return 0x4135d0bd }

// TLName is the name in the schema.
func (*KeyManagerGetProxyPrivateKeys) TLName() string { return "keyManager.getProxyPrivateKeys" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyManagerGetProxyPrivateKeys) TLType() string { return "keyManager.PrivateKeys" }

func (*KeyManagerGetProxyPrivateKeys) isFunction() {}

// Size is how many bytes Append appends.
func (v *KeyManagerGetProxyPrivateKeys) Size() int { return 4 + v.bareSize() }

func (*KeyManagerGetProxyPrivateKeys) bareSize() int { return 4 }

// Append writes the value with its id.
func (v *KeyManagerGetProxyPrivateKeys) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x4135d0bd))
}

func (v *KeyManagerGetProxyPrivateKeys) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.ProtoVersion)
	return dst
}

func (v *KeyManagerGetProxyPrivateKeys) decode(c *wire.Cursor) {
	v.ProtoVersion = c.Int()
}

// KeyManagerGetWorkerPrivateKeys is the function keyManager.getWorkerPrivateKeys, of type keyManager.PrivateKeys.
type KeyManagerGetWorkerPrivateKeys struct {
	ProtoVersion int32
}

// TLID is the constructor's id.
func (*KeyManagerGetWorkerPrivateKeys) TLID() uint32 { return 0x4b90e9b1 }

// TLName is the name in the schema.
func (*KeyManagerGetWorkerPrivateKeys) TLName() string { return "keyManager.getWorkerPrivateKeys" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyManagerGetWorkerPrivateKeys) TLType() string { return "keyManager.PrivateKeys" }

func (*KeyManagerGetWorkerPrivateKeys) isFunction() {}

// Size is how many bytes Append appends.
func (v *KeyManagerGetWorkerPrivateKeys) Size() int { return 4 + v.bareSize() }

func (*KeyManagerGetWorkerPrivateKeys) bareSize() int { return 4 }

// Append writes the value with its id.
func (v *KeyManagerGetWorkerPrivateKeys) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x4b90e9b1))
}

func (v *KeyManagerGetWorkerPrivateKeys) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.ProtoVersion)
	return dst
}

func (v *KeyManagerGetWorkerPrivateKeys) decode(c *wire.Cursor) {
	v.ProtoVersion = c.Int()
}

// ProxyRunQuery is the function proxy.runQuery, of type proxy.QueryAnswer.
type ProxyRunQuery struct {
	Query         []byte
	SignedPayment AnyProxySignedPayment
	Coefficient   int64
	Timeout       float64
	RequestID     [32]byte
}

// TLID is the constructor's id.
func (*ProxyRunQuery) TLID() uint32 { return 0x47182416 }

// TLName is the name in the schema.
func (*ProxyRunQuery) TLName() string { return "proxy.runQuery" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyRunQuery) TLType() string { return "proxy.QueryAnswer" }

func (*ProxyRunQuery) isFunction() {}

// Size is how many bytes Append appends.
func (v *ProxyRunQuery) Size() int { return 4 + v.bareSize() }

func (v *ProxyRunQuery) bareSize() int {
	return 48 + wire.BytesSize(len(v.Query)) + v.SignedPayment.Size()
}

// Append writes the value with its id.
func (v *ProxyRunQuery) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x47182416))
}

func (v *ProxyRunQuery) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Query)
	dst = v.SignedPayment.Append(dst)
	dst = wire.AppendLong(dst, v.Coefficient)
	dst = wire.AppendDouble(dst, v.Timeout)
	dst = append(dst, v.RequestID[:]...)
	return dst
}

func (v *ProxyRunQuery) decode(c *wire.Cursor) {
	v.Query = c.Own(MaxBytes)
	v.SignedPayment = decodeAnyProxySignedPayment(c)
	v.Coefficient = c.Long()
	v.Timeout = c.Double()
	v.RequestID = int256(c)
}

// ProxyRunQueryEx is the function proxy.runQueryEx, of type proxy.QueryAnswer.
type ProxyRunQueryEx struct {
	Query         []byte
	SignedPayment AnyProxySignedPayment
	Coefficient   int64
	Timeout       float64
	RequestID     [32]byte
	EnableDebug   *bool
	PrivateKey    *[32]byte
}

// TLID is the constructor's id.
func (*ProxyRunQueryEx) TLID() uint32 { return 0xc805e7e2 }

// TLName is the name in the schema.
func (*ProxyRunQueryEx) TLName() string { return "proxy.runQueryEx" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyRunQueryEx) TLType() string { return "proxy.QueryAnswer" }

func (*ProxyRunQueryEx) isFunction() {}

// Size is how many bytes Append appends.
func (v *ProxyRunQueryEx) Size() int { return 4 + v.bareSize() }

func (v *ProxyRunQueryEx) bareSize() int {
	n := 52 + wire.BytesSize(len(v.Query)) + v.SignedPayment.Size()
	if v.EnableDebug != nil {
		n += 4
	}
	if v.PrivateKey != nil {
		n += 32
	}
	return n
}

// Append writes the value with its id.
func (v *ProxyRunQueryEx) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xc805e7e2))
}

func (v *ProxyRunQueryEx) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.Query)
	dst = v.SignedPayment.Append(dst)
	dst = wire.AppendLong(dst, v.Coefficient)
	dst = wire.AppendDouble(dst, v.Timeout)
	dst = append(dst, v.RequestID[:]...)
	var flags uint32
	if v.EnableDebug != nil {
		flags |= 1 << 0
	}
	if v.PrivateKey != nil {
		flags |= 1 << 1
	}
	dst = wire.AppendUint(dst, flags)
	if flags&(1<<0) != 0 {
		dst = wire.AppendBool(dst, orZero(v.EnableDebug))
	}
	if flags&(1<<1) != 0 {
		x := orZero(v.PrivateKey)
		dst = append(dst, x[:]...)
	}
	return dst
}

func (v *ProxyRunQueryEx) decode(c *wire.Cursor) {
	v.Query = c.Own(MaxBytes)
	v.SignedPayment = decodeAnyProxySignedPayment(c)
	v.Coefficient = c.Long()
	v.Timeout = c.Double()
	v.RequestID = int256(c)
	flags := c.Flags(0x3)
	if flags&(1<<0) != 0 {
		v.EnableDebug = new(bool)
		*v.EnableDebug = c.Bool()
	}
	if flags&(1<<1) != 0 {
		v.PrivateKey = new([32]byte)
		*v.PrivateKey = int256(c)
	}
}

// TestQuery is the function test.query, of type test.Answer.
type TestQuery struct {
	ID int64
}

// TLID is the constructor's id.
func (*TestQuery) TLID() uint32 { return 0x394e9143 }

// TLName is the name in the schema.
func (*TestQuery) TLName() string { return "test.query" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*TestQuery) TLType() string { return "test.Answer" }

func (*TestQuery) isFunction() {}

// Size is how many bytes Append appends.
func (v *TestQuery) Size() int { return 4 + v.bareSize() }

func (*TestQuery) bareSize() int { return 8 }

// Append writes the value with its id.
func (v *TestQuery) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x394e9143))
}

func (v *TestQuery) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.ID)
	return dst
}

func (v *TestQuery) decode(c *wire.Cursor) {
	v.ID = c.Long()
}

// WorkerChangeModel is the function worker.changeModel, of type worker.ChangedModel.
type WorkerChangeModel struct {
	NewModel string
}

// TLID is the constructor's id.
func (*WorkerChangeModel) TLID() uint32 { return 0x72662cee }

// TLName is the name in the schema.
func (*WorkerChangeModel) TLName() string { return "worker.changeModel" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerChangeModel) TLType() string { return "worker.ChangedModel" }

func (*WorkerChangeModel) isFunction() {}

// Size is how many bytes Append appends.
func (v *WorkerChangeModel) Size() int { return 4 + v.bareSize() }

func (v *WorkerChangeModel) bareSize() int { return wire.BytesSize(len(v.NewModel)) }

// Append writes the value with its id.
func (v *WorkerChangeModel) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x72662cee))
}

func (v *WorkerChangeModel) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.NewModel)
	return dst
}

func (v *WorkerChangeModel) decode(c *wire.Cursor) {
	v.NewModel = readString(c)
}

// WorkerCompareBalanceWithProxy is the function worker.compareBalanceWithProxy, of type worker.CompareBalanceWithProxyResult.
type WorkerCompareBalanceWithProxy struct {
	TokensCommittedToBlockchain int64
	TokensCommittedToDB         int64
	MaxTokens                   int64
}

// TLID is the constructor's id.
func (*WorkerCompareBalanceWithProxy) TLID() uint32 { return 0xdb386501 }

// TLName is the name in the schema.
func (*WorkerCompareBalanceWithProxy) TLName() string { return "worker.compareBalanceWithProxy" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerCompareBalanceWithProxy) TLType() string { return "worker.CompareBalanceWithProxyResult" }

func (*WorkerCompareBalanceWithProxy) isFunction() {}

// Size is how many bytes Append appends.
func (v *WorkerCompareBalanceWithProxy) Size() int { return 4 + v.bareSize() }

func (*WorkerCompareBalanceWithProxy) bareSize() int { return 24 }

// Append writes the value with its id.
func (v *WorkerCompareBalanceWithProxy) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xdb386501))
}

func (v *WorkerCompareBalanceWithProxy) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.TokensCommittedToBlockchain)
	dst = wire.AppendLong(dst, v.TokensCommittedToDB)
	dst = wire.AppendLong(dst, v.MaxTokens)
	return dst
}

func (v *WorkerCompareBalanceWithProxy) decode(c *wire.Cursor) {
	v.TokensCommittedToBlockchain = c.Long()
	v.TokensCommittedToDB = c.Long()
	v.MaxTokens = c.Long()
}

// WorkerConnectToProxy is the function worker.connectToProxy, of type worker.ConnectedToProxy.
type WorkerConnectToProxy struct {
	Params WorkerParams
}

// TLID is the constructor's id.
func (*WorkerConnectToProxy) TLID() uint32 { return 0xcc484c5d }

// TLName is the name in the schema.
func (*WorkerConnectToProxy) TLName() string { return "worker.connectToProxy" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerConnectToProxy) TLType() string { return "worker.ConnectedToProxy" }

func (*WorkerConnectToProxy) isFunction() {}

// Size is how many bytes Append appends.
func (v *WorkerConnectToProxy) Size() int { return 4 + v.bareSize() }

func (v *WorkerConnectToProxy) bareSize() int { return v.Params.bareSize() }

// Append writes the value with its id.
func (v *WorkerConnectToProxy) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xcc484c5d))
}

func (v *WorkerConnectToProxy) bare(dst []byte) []byte {
	dst = v.Params.bare(dst)
	return dst
}

func (v *WorkerConnectToProxy) decode(c *wire.Cursor) {
	v.Params.decode(c)
}

// WorkerExtendedCompareBalanceWithProxy is the function worker.extendedCompareBalanceWithProxy, of type worker.ExtendedCompareBalanceWithProxyResult.
type WorkerExtendedCompareBalanceWithProxy struct {
	TokensCommittedToDB int64
	Other               []byte
}

// TLID is the constructor's id.
func (*WorkerExtendedCompareBalanceWithProxy) TLID() uint32 { return 0xf8dd9914 }

// TLName is the name in the schema.
func (*WorkerExtendedCompareBalanceWithProxy) TLName() string {
	return "worker.extendedCompareBalanceWithProxy"
}

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerExtendedCompareBalanceWithProxy) TLType() string {
	return "worker.ExtendedCompareBalanceWithProxyResult"
}

func (*WorkerExtendedCompareBalanceWithProxy) isFunction() {}

// Size is how many bytes Append appends.
func (v *WorkerExtendedCompareBalanceWithProxy) Size() int { return 4 + v.bareSize() }

func (v *WorkerExtendedCompareBalanceWithProxy) bareSize() int {
	return 8 + wire.BytesSize(len(v.Other))
}

// Append writes the value with its id.
func (v *WorkerExtendedCompareBalanceWithProxy) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xf8dd9914))
}

func (v *WorkerExtendedCompareBalanceWithProxy) bare(dst []byte) []byte {
	dst = wire.AppendLong(dst, v.TokensCommittedToDB)
	dst = wire.AppendBytes(dst, v.Other)
	return dst
}

func (v *WorkerExtendedCompareBalanceWithProxy) decode(c *wire.Cursor) {
	v.TokensCommittedToDB = c.Long()
	v.Other = c.Own(MaxBytes)
}

// WorkerProxyHandshakeComplete is the function worker.proxyHandshakeComplete, of type worker.HandshakeCompleted.
type WorkerProxyHandshakeComplete struct {
	IsDisabled bool
}

// TLID is the constructor's id.
func (*WorkerProxyHandshakeComplete) TLID() uint32 { return 0xf843b066 }

// TLName is the name in the schema.
func (*WorkerProxyHandshakeComplete) TLName() string { return "worker.proxyHandshakeComplete" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerProxyHandshakeComplete) TLType() string { return "worker.HandshakeCompleted" }

func (*WorkerProxyHandshakeComplete) isFunction() {}

// Size is how many bytes Append appends.
func (v *WorkerProxyHandshakeComplete) Size() int { return 4 + v.bareSize() }

func (*WorkerProxyHandshakeComplete) bareSize() int { return 4 }

// Append writes the value with its id.
func (v *WorkerProxyHandshakeComplete) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xf843b066))
}

func (v *WorkerProxyHandshakeComplete) bare(dst []byte) []byte {
	dst = wire.AppendBool(dst, v.IsDisabled)
	return dst
}

func (v *WorkerProxyHandshakeComplete) decode(c *wire.Cursor) {
	v.IsDisabled = c.Bool()
}

// WorkerUpdatePaymentStatus is the function worker.updatePaymentStatus, of type worker.PaymentStatus.
type WorkerUpdatePaymentStatus struct {
}

// TLID is the constructor's id.
func (*WorkerUpdatePaymentStatus) TLID() uint32 { return 0xdc70a524 }

// TLName is the name in the schema.
func (*WorkerUpdatePaymentStatus) TLName() string { return "worker.updatePaymentStatus" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerUpdatePaymentStatus) TLType() string { return "worker.PaymentStatus" }

func (*WorkerUpdatePaymentStatus) isFunction() {}

// Size is how many bytes Append appends.
func (v *WorkerUpdatePaymentStatus) Size() int { return 4 + v.bareSize() }

func (*WorkerUpdatePaymentStatus) bareSize() int { return 0 }

// Append writes the value with its id.
func (v *WorkerUpdatePaymentStatus) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xdc70a524))
}

func (*WorkerUpdatePaymentStatus) bare(dst []byte) []byte { return dst }

func (*WorkerUpdatePaymentStatus) decode(*wire.Cursor) {}

// ClientGetSession is the function client.getSession, of type client.Session.
type ClientGetSession struct {
	SessionID [32]byte
}

// TLID is the constructor's id.
func (*ClientGetSession) TLID() uint32 { return 0xb42f878b }

// TLName is the name in the schema.
func (*ClientGetSession) TLName() string { return "client.getSession" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientGetSession) TLType() string { return "client.Session" }

func (*ClientGetSession) isFunction() {}

// Size is how many bytes Append appends.
func (v *ClientGetSession) Size() int { return 4 + v.bareSize() }

func (*ClientGetSession) bareSize() int { return 32 }

// Append writes the value with its id.
func (v *ClientGetSession) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xb42f878b))
}

func (v *ClientGetSession) bare(dst []byte) []byte {
	dst = append(dst, v.SessionID[:]...)
	return dst
}

func (v *ClientGetSession) decode(c *wire.Cursor) {
	v.SessionID = int256(c)
}

// ClientGetAttestation is the function client.getAttestation, of type client.Attestation.
type ClientGetAttestation struct {
	Nonce *[32]byte
}

// TLID is the constructor's id.
func (*ClientGetAttestation) TLID() uint32 { return 0x6af7b3d5 }

// TLName is the name in the schema.
func (*ClientGetAttestation) TLName() string { return "client.getAttestation" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ClientGetAttestation) TLType() string { return "client.Attestation" }

func (*ClientGetAttestation) isFunction() {}

// Size is how many bytes Append appends.
func (v *ClientGetAttestation) Size() int { return 4 + v.bareSize() }

func (v *ClientGetAttestation) bareSize() int {
	n := 4
	if v.Nonce != nil {
		n += 32
	}
	return n
}

// Append writes the value with its id.
func (v *ClientGetAttestation) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x6af7b3d5))
}

func (v *ClientGetAttestation) bare(dst []byte) []byte {
	var flags uint32
	if v.Nonce != nil {
		flags |= 1 << 0
	}
	dst = wire.AppendUint(dst, flags)
	if flags&(1<<0) != 0 {
		x := orZero(v.Nonce)
		dst = append(dst, x[:]...)
	}
	return dst
}

func (v *ClientGetAttestation) decode(c *wire.Cursor) {
	flags := c.Flags(0x1)
	if flags&(1<<0) != 0 {
		v.Nonce = new([32]byte)
		*v.Nonce = int256(c)
	}
}

// KeyManagerDBKeyDec is the constructor keyManagerDb.key, of type keyManagerDb.Key.
type KeyManagerDBKeyDec struct {
	PrivateKey              [32]byte
	ForProxies              bool
	ForWorkers              bool
	ValidSinceConfigVersion int32
	ValidSinceUtime         int32
	ValidUntilUtime         int32
}

// TLID is the constructor's id.
func (*KeyManagerDBKeyDec) TLID() uint32 { return 0x4d0a1e17 }

// TLName is the name in the schema.
func (*KeyManagerDBKeyDec) TLName() string { return "keyManagerDb.key" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyManagerDBKeyDec) TLType() string { return "keyManagerDb.Key" }

// Size is how many bytes Append appends.
func (v *KeyManagerDBKeyDec) Size() int { return 4 + v.bareSize() }

func (*KeyManagerDBKeyDec) bareSize() int { return 52 }

// Append writes the value with its id.
func (v *KeyManagerDBKeyDec) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x4d0a1e17))
}

func (v *KeyManagerDBKeyDec) bare(dst []byte) []byte {
	dst = append(dst, v.PrivateKey[:]...)
	dst = wire.AppendBool(dst, v.ForProxies)
	dst = wire.AppendBool(dst, v.ForWorkers)
	dst = wire.AppendInt(dst, v.ValidSinceConfigVersion)
	dst = wire.AppendInt(dst, v.ValidSinceUtime)
	dst = wire.AppendInt(dst, v.ValidUntilUtime)
	return dst
}

func (v *KeyManagerDBKeyDec) decode(c *wire.Cursor) {
	v.PrivateKey = int256(c)
	v.ForProxies = c.Bool()
	v.ForWorkers = c.Bool()
	v.ValidSinceConfigVersion = c.Int()
	v.ValidSinceUtime = c.Int()
	v.ValidUntilUtime = c.Int()
}

// KeyStorageRunnerConfigDec is the constructor keyStorageRunner.config, of type keyStorageRunner.Config.
type KeyStorageRunnerConfigDec struct {
	IsTest                    bool
	IsTestnet                 bool
	RPCPort                   int32
	HTTPPort                  int32
	RootContractAddress       string
	MachineSpecificPrivateKey [32]byte
	TONConfigFilename         string
	DBPath                    string
	CheckHashes               bool
	ImageHash                 [32]byte
	HTTPAccessHash            string
}

// TLID is the constructor's id.
func (*KeyStorageRunnerConfigDec) TLID() uint32 { return 0xd7874e40 }

// TLName is the name in the schema.
func (*KeyStorageRunnerConfigDec) TLName() string { return "keyStorageRunner.config" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyStorageRunnerConfigDec) TLType() string { return "keyStorageRunner.Config" }

// Size is how many bytes Append appends.
func (v *KeyStorageRunnerConfigDec) Size() int { return 4 + v.bareSize() }

func (v *KeyStorageRunnerConfigDec) bareSize() int {
	return 84 + wire.BytesSize(len(v.RootContractAddress)) + wire.BytesSize(len(v.TONConfigFilename)) + wire.BytesSize(len(v.DBPath)) + wire.BytesSize(len(v.HTTPAccessHash))
}

// Append writes the value with its id.
func (v *KeyStorageRunnerConfigDec) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0xd7874e40))
}

func (v *KeyStorageRunnerConfigDec) bare(dst []byte) []byte {
	dst = wire.AppendBool(dst, v.IsTest)
	dst = wire.AppendBool(dst, v.IsTestnet)
	dst = wire.AppendInt(dst, v.RPCPort)
	dst = wire.AppendInt(dst, v.HTTPPort)
	dst = wire.AppendBytes(dst, v.RootContractAddress)
	dst = append(dst, v.MachineSpecificPrivateKey[:]...)
	dst = wire.AppendBytes(dst, v.TONConfigFilename)
	dst = wire.AppendBytes(dst, v.DBPath)
	dst = wire.AppendBool(dst, v.CheckHashes)
	dst = append(dst, v.ImageHash[:]...)
	dst = wire.AppendBytes(dst, v.HTTPAccessHash)
	return dst
}

func (v *KeyStorageRunnerConfigDec) decode(c *wire.Cursor) {
	v.IsTest = c.Bool()
	v.IsTestnet = c.Bool()
	v.RPCPort = c.Int()
	v.HTTPPort = c.Int()
	v.RootContractAddress = readString(c)
	v.MachineSpecificPrivateKey = int256(c)
	v.TONConfigFilename = readString(c)
	v.DBPath = readString(c)
	v.CheckHashes = c.Bool()
	v.ImageHash = int256(c)
	v.HTTPAccessHash = readString(c)
}

// ProxyRunnerConfigDec is the constructor proxyRunner.config, of type proxyRunner.Config.
type ProxyRunnerConfigDec struct {
	IsTest                    bool
	IsTestnet                 bool
	WorkersRPCPort            int32
	ClientRPCPort             int32
	HTTPPort                  int32
	OwnerAddress              string
	RootContractAddress       string
	MachineSpecificPrivateKey [32]byte
	NodeWalletKey             [32]byte
	TONConfigFilename         string
	DBPath                    string
	CheckWorkerHashes         bool
	ImageHash                 [32]byte
	HTTPAccessHash            string
}

// TLID is the constructor's id.
func (*ProxyRunnerConfigDec) TLID() uint32 { return 0x5bf5e272 }

// TLName is the name in the schema.
func (*ProxyRunnerConfigDec) TLName() string { return "proxyRunner.config" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*ProxyRunnerConfigDec) TLType() string { return "proxyRunner.Config" }

// Size is how many bytes Append appends.
func (v *ProxyRunnerConfigDec) Size() int { return 4 + v.bareSize() }

func (v *ProxyRunnerConfigDec) bareSize() int {
	return 120 + wire.BytesSize(len(v.OwnerAddress)) + wire.BytesSize(len(v.RootContractAddress)) + wire.BytesSize(len(v.TONConfigFilename)) + wire.BytesSize(len(v.DBPath)) + wire.BytesSize(len(v.HTTPAccessHash))
}

// Append writes the value with its id.
func (v *ProxyRunnerConfigDec) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x5bf5e272))
}

func (v *ProxyRunnerConfigDec) bare(dst []byte) []byte {
	dst = wire.AppendBool(dst, v.IsTest)
	dst = wire.AppendBool(dst, v.IsTestnet)
	dst = wire.AppendInt(dst, v.WorkersRPCPort)
	dst = wire.AppendInt(dst, v.ClientRPCPort)
	dst = wire.AppendInt(dst, v.HTTPPort)
	dst = wire.AppendBytes(dst, v.OwnerAddress)
	dst = wire.AppendBytes(dst, v.RootContractAddress)
	dst = append(dst, v.MachineSpecificPrivateKey[:]...)
	dst = append(dst, v.NodeWalletKey[:]...)
	dst = wire.AppendBytes(dst, v.TONConfigFilename)
	dst = wire.AppendBytes(dst, v.DBPath)
	dst = wire.AppendBool(dst, v.CheckWorkerHashes)
	dst = append(dst, v.ImageHash[:]...)
	dst = wire.AppendBytes(dst, v.HTTPAccessHash)
	return dst
}

func (v *ProxyRunnerConfigDec) decode(c *wire.Cursor) {
	v.IsTest = c.Bool()
	v.IsTestnet = c.Bool()
	v.WorkersRPCPort = c.Int()
	v.ClientRPCPort = c.Int()
	v.HTTPPort = c.Int()
	v.OwnerAddress = readString(c)
	v.RootContractAddress = readString(c)
	v.MachineSpecificPrivateKey = int256(c)
	v.NodeWalletKey = int256(c)
	v.TONConfigFilename = readString(c)
	v.DBPath = readString(c)
	v.CheckWorkerHashes = c.Bool()
	v.ImageHash = int256(c)
	v.HTTPAccessHash = readString(c)
}

// RootConfigConfigV5Dec is the constructor rootConfig.configV5, of type rootConfig.Config.
type RootConfigConfigV5Dec struct {
	RootOwnerAddress                string
	ProxyHashes                     [][32]byte
	RegisteredProxies               []RootConfigRegisteredProxy
	LastProxySeqno                  int32
	WorkerHashes                    [][32]byte
	ModelHashes                     [][32]byte
	Version                         int32
	StructVersion                   int32
	ParamsVersion                   int32
	UniqueID                        int32
	IsTest                          int32
	PricePerToken                   int64
	WorkerFeePerToken               int64
	PromptTokensPriceMultiplier     int32
	CachedTokensPriceMultiplier     int32
	CompletionTokensPriceMultiplier int32
	ReasoningTokensPriceMultiplier  int32
	ProxyDelayBeforeClose           int32
	ClientDelayBeforeClose          int32
	MinProxyStake                   int64
	MinClientStake                  int64
	ProxySCCode                     string
	WorkerSCCode                    string
	ClientSCCode                    string
}

// TLID is the constructor's id.
func (*RootConfigConfigV5Dec) TLID() uint32 { return 0x5e84869b }

// TLName is the name in the schema.
func (*RootConfigConfigV5Dec) TLName() string { return "rootConfig.configV5" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*RootConfigConfigV5Dec) TLType() string { return "rootConfig.Config" }

// Size is how many bytes Append appends.
func (v *RootConfigConfigV5Dec) Size() int { return 4 + v.bareSize() }

func (v *RootConfigConfigV5Dec) bareSize() int {
	n := 96 + wire.BytesSize(len(v.RootOwnerAddress)) + 32*len(v.ProxyHashes) + 32*len(v.WorkerHashes) + 32*len(v.ModelHashes) + wire.BytesSize(len(v.ProxySCCode)) + wire.BytesSize(len(v.WorkerSCCode)) + wire.BytesSize(len(v.ClientSCCode))
	for i := range v.RegisteredProxies {
		n += v.RegisteredProxies[i].bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *RootConfigConfigV5Dec) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x5e84869b))
}

func (v *RootConfigConfigV5Dec) bare(dst []byte) []byte {
	dst = wire.AppendBytes(dst, v.RootOwnerAddress)
	dst = wire.AppendInt(dst, int32(len(v.ProxyHashes))) //nolint:gosec // bounded by the frame
	for i := range v.ProxyHashes {
		dst = append(dst, v.ProxyHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.RegisteredProxies))) //nolint:gosec // bounded by the frame
	for i := range v.RegisteredProxies {
		dst = v.RegisteredProxies[i].bare(dst)
	}
	dst = wire.AppendInt(dst, v.LastProxySeqno)
	dst = wire.AppendInt(dst, int32(len(v.WorkerHashes))) //nolint:gosec // bounded by the frame
	for i := range v.WorkerHashes {
		dst = append(dst, v.WorkerHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.ModelHashes))) //nolint:gosec // bounded by the frame
	for i := range v.ModelHashes {
		dst = append(dst, v.ModelHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, v.Version)
	dst = wire.AppendInt(dst, v.StructVersion)
	dst = wire.AppendInt(dst, v.ParamsVersion)
	dst = wire.AppendInt(dst, v.UniqueID)
	dst = wire.AppendInt(dst, v.IsTest)
	dst = wire.AppendLong(dst, v.PricePerToken)
	dst = wire.AppendLong(dst, v.WorkerFeePerToken)
	dst = wire.AppendInt(dst, v.PromptTokensPriceMultiplier)
	dst = wire.AppendInt(dst, v.CachedTokensPriceMultiplier)
	dst = wire.AppendInt(dst, v.CompletionTokensPriceMultiplier)
	dst = wire.AppendInt(dst, v.ReasoningTokensPriceMultiplier)
	dst = wire.AppendInt(dst, v.ProxyDelayBeforeClose)
	dst = wire.AppendInt(dst, v.ClientDelayBeforeClose)
	dst = wire.AppendLong(dst, v.MinProxyStake)
	dst = wire.AppendLong(dst, v.MinClientStake)
	dst = wire.AppendBytes(dst, v.ProxySCCode)
	dst = wire.AppendBytes(dst, v.WorkerSCCode)
	dst = wire.AppendBytes(dst, v.ClientSCCode)
	return dst
}

func (v *RootConfigConfigV5Dec) decode(c *wire.Cursor) {
	v.RootOwnerAddress = readString(c)
	v.ProxyHashes = make([][32]byte, c.Count(32))
	for i := range v.ProxyHashes {
		v.ProxyHashes[i] = int256(c)
	}
	v.RegisteredProxies = make([]RootConfigRegisteredProxy, c.Count(8))
	for i := range v.RegisteredProxies {
		v.RegisteredProxies[i].decode(c)
	}
	v.LastProxySeqno = c.Int()
	v.WorkerHashes = make([][32]byte, c.Count(32))
	for i := range v.WorkerHashes {
		v.WorkerHashes[i] = int256(c)
	}
	v.ModelHashes = make([][32]byte, c.Count(32))
	for i := range v.ModelHashes {
		v.ModelHashes[i] = int256(c)
	}
	v.Version = c.Int()
	v.StructVersion = c.Int()
	v.ParamsVersion = c.Int()
	v.UniqueID = c.Int()
	v.IsTest = c.Int()
	v.PricePerToken = c.Long()
	v.WorkerFeePerToken = c.Long()
	v.PromptTokensPriceMultiplier = c.Int()
	v.CachedTokensPriceMultiplier = c.Int()
	v.CompletionTokensPriceMultiplier = c.Int()
	v.ReasoningTokensPriceMultiplier = c.Int()
	v.ProxyDelayBeforeClose = c.Int()
	v.ClientDelayBeforeClose = c.Int()
	v.MinProxyStake = c.Long()
	v.MinClientStake = c.Long()
	v.ProxySCCode = readString(c)
	v.WorkerSCCode = readString(c)
	v.ClientSCCode = readString(c)
}

// RootConfigPseudoDec is the constructor rootConfig.pseudo, of type rootConfig.Config.
type RootConfigPseudoDec struct {
	ProxyHashes       [][32]byte
	WorkerHashes      [][32]byte
	ModelHashes       [][32]byte
	ModelTypes        []string
	RegisteredProxies []RootConfigRegisteredProxy
	PricePerToken     int32
	WorkerFeePerToken int32
	LastProxySeqno    int32
	Version           int32
	ParamsVersion     int32
	ProxySCCode       string
	WorkerSCCode      string
	ClientSCCode      string
	RootOwnerAddress  string
}

// TLID is the constructor's id.
func (*RootConfigPseudoDec) TLID() uint32 { return 0x87a976cc }

// TLName is the name in the schema.
func (*RootConfigPseudoDec) TLName() string { return "rootConfig.pseudo" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*RootConfigPseudoDec) TLType() string { return "rootConfig.Config" }

// Size is how many bytes Append appends.
func (v *RootConfigPseudoDec) Size() int { return 4 + v.bareSize() }

func (v *RootConfigPseudoDec) bareSize() int {
	n := 40 + 32*len(v.ProxyHashes) + 32*len(v.WorkerHashes) + 32*len(v.ModelHashes) + wire.BytesSize(len(v.ProxySCCode)) + wire.BytesSize(len(v.WorkerSCCode)) + wire.BytesSize(len(v.ClientSCCode)) + wire.BytesSize(len(v.RootOwnerAddress))
	for i := range v.ModelTypes {
		n += wire.BytesSize(len(v.ModelTypes[i]))
	}
	for i := range v.RegisteredProxies {
		n += v.RegisteredProxies[i].bareSize()
	}
	return n
}

// Append writes the value with its id.
func (v *RootConfigPseudoDec) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x87a976cc))
}

func (v *RootConfigPseudoDec) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, int32(len(v.ProxyHashes))) //nolint:gosec // bounded by the frame
	for i := range v.ProxyHashes {
		dst = append(dst, v.ProxyHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.WorkerHashes))) //nolint:gosec // bounded by the frame
	for i := range v.WorkerHashes {
		dst = append(dst, v.WorkerHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.ModelHashes))) //nolint:gosec // bounded by the frame
	for i := range v.ModelHashes {
		dst = append(dst, v.ModelHashes[i][:]...)
	}
	dst = wire.AppendInt(dst, int32(len(v.ModelTypes))) //nolint:gosec // bounded by the frame
	for i := range v.ModelTypes {
		dst = wire.AppendBytes(dst, v.ModelTypes[i])
	}
	dst = wire.AppendInt(dst, int32(len(v.RegisteredProxies))) //nolint:gosec // bounded by the frame
	for i := range v.RegisteredProxies {
		dst = v.RegisteredProxies[i].bare(dst)
	}
	dst = wire.AppendInt(dst, v.PricePerToken)
	dst = wire.AppendInt(dst, v.WorkerFeePerToken)
	dst = wire.AppendInt(dst, v.LastProxySeqno)
	dst = wire.AppendInt(dst, v.Version)
	dst = wire.AppendInt(dst, v.ParamsVersion)
	dst = wire.AppendBytes(dst, v.ProxySCCode)
	dst = wire.AppendBytes(dst, v.WorkerSCCode)
	dst = wire.AppendBytes(dst, v.ClientSCCode)
	dst = wire.AppendBytes(dst, v.RootOwnerAddress)
	return dst
}

func (v *RootConfigPseudoDec) decode(c *wire.Cursor) {
	v.ProxyHashes = make([][32]byte, c.Count(32))
	for i := range v.ProxyHashes {
		v.ProxyHashes[i] = int256(c)
	}
	v.WorkerHashes = make([][32]byte, c.Count(32))
	for i := range v.WorkerHashes {
		v.WorkerHashes[i] = int256(c)
	}
	v.ModelHashes = make([][32]byte, c.Count(32))
	for i := range v.ModelHashes {
		v.ModelHashes[i] = int256(c)
	}
	v.ModelTypes = make([]string, c.Count(4))
	for i := range v.ModelTypes {
		v.ModelTypes[i] = readString(c)
	}
	v.RegisteredProxies = make([]RootConfigRegisteredProxy, c.Count(8))
	for i := range v.RegisteredProxies {
		v.RegisteredProxies[i].decode(c)
	}
	v.PricePerToken = c.Int()
	v.WorkerFeePerToken = c.Int()
	v.LastProxySeqno = c.Int()
	v.Version = c.Int()
	v.ParamsVersion = c.Int()
	v.ProxySCCode = readString(c)
	v.WorkerSCCode = readString(c)
	v.ClientSCCode = readString(c)
	v.RootOwnerAddress = readString(c)
}

// WorkerRunnerConfigDec is the constructor workerRunner.config, of type workerRunner.Config.
type WorkerRunnerConfigDec struct {
	IsTest              bool
	IsTestnet           bool
	HTTPPort            int32
	OwnerAddress        string
	ProxyConnections    int32
	ConnectToProxyVia   string
	ModelName           string
	Coefficient         int32
	RootContractAddress string
	NodeWalletKey       [32]byte
	ForwardRequestsTo   string
	TONConfigFilename   string
	CheckProxyHashes    bool
	MaxActiveRequests   int32
	ImageHash           [32]byte
	HTTPAccessHash      string
}

// TLID is the constructor's id.
func (*WorkerRunnerConfigDec) TLID() uint32 { return 0x870db56d }

// TLName is the name in the schema.
func (*WorkerRunnerConfigDec) TLName() string { return "workerRunner.config" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*WorkerRunnerConfigDec) TLType() string { return "workerRunner.Config" }

// Size is how many bytes Append appends.
func (v *WorkerRunnerConfigDec) Size() int { return 4 + v.bareSize() }

func (v *WorkerRunnerConfigDec) bareSize() int {
	return 92 + wire.BytesSize(len(v.OwnerAddress)) + wire.BytesSize(len(v.ConnectToProxyVia)) + wire.BytesSize(len(v.ModelName)) + wire.BytesSize(len(v.RootContractAddress)) + wire.BytesSize(len(v.ForwardRequestsTo)) + wire.BytesSize(len(v.TONConfigFilename)) + wire.BytesSize(len(v.HTTPAccessHash))
}

// Append writes the value with its id.
func (v *WorkerRunnerConfigDec) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x870db56d))
}

func (v *WorkerRunnerConfigDec) bare(dst []byte) []byte {
	dst = wire.AppendBool(dst, v.IsTest)
	dst = wire.AppendBool(dst, v.IsTestnet)
	dst = wire.AppendInt(dst, v.HTTPPort)
	dst = wire.AppendBytes(dst, v.OwnerAddress)
	dst = wire.AppendInt(dst, v.ProxyConnections)
	dst = wire.AppendBytes(dst, v.ConnectToProxyVia)
	dst = wire.AppendBytes(dst, v.ModelName)
	dst = wire.AppendInt(dst, v.Coefficient)
	dst = wire.AppendBytes(dst, v.RootContractAddress)
	dst = append(dst, v.NodeWalletKey[:]...)
	dst = wire.AppendBytes(dst, v.ForwardRequestsTo)
	dst = wire.AppendBytes(dst, v.TONConfigFilename)
	dst = wire.AppendBool(dst, v.CheckProxyHashes)
	dst = wire.AppendInt(dst, v.MaxActiveRequests)
	dst = append(dst, v.ImageHash[:]...)
	dst = wire.AppendBytes(dst, v.HTTPAccessHash)
	return dst
}

func (v *WorkerRunnerConfigDec) decode(c *wire.Cursor) {
	v.IsTest = c.Bool()
	v.IsTestnet = c.Bool()
	v.HTTPPort = c.Int()
	v.OwnerAddress = readString(c)
	v.ProxyConnections = c.Int()
	v.ConnectToProxyVia = readString(c)
	v.ModelName = readString(c)
	v.Coefficient = c.Int()
	v.RootContractAddress = readString(c)
	v.NodeWalletKey = int256(c)
	v.ForwardRequestsTo = readString(c)
	v.TONConfigFilename = readString(c)
	v.CheckProxyHashes = c.Bool()
	v.MaxActiveRequests = c.Int()
	v.ImageHash = int256(c)
	v.HTTPAccessHash = readString(c)
}

// KeyManagerGetProxyPrivateKeysDec is the function keyManager.getProxyPrivateKeys, of type keyManager.PrivateKeys.
type KeyManagerGetProxyPrivateKeysDec struct {
	MinConfigVersion int32
}

// TLID is the constructor's id.
func (*KeyManagerGetProxyPrivateKeysDec) TLID() uint32 { return 0x47a9c2de }

// TLName is the name in the schema.
func (*KeyManagerGetProxyPrivateKeysDec) TLName() string { return "keyManager.getProxyPrivateKeys" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyManagerGetProxyPrivateKeysDec) TLType() string { return "keyManager.PrivateKeys" }

func (*KeyManagerGetProxyPrivateKeysDec) isFunction() {}

// Size is how many bytes Append appends.
func (v *KeyManagerGetProxyPrivateKeysDec) Size() int { return 4 + v.bareSize() }

func (*KeyManagerGetProxyPrivateKeysDec) bareSize() int { return 4 }

// Append writes the value with its id.
func (v *KeyManagerGetProxyPrivateKeysDec) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x47a9c2de))
}

func (v *KeyManagerGetProxyPrivateKeysDec) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.MinConfigVersion)
	return dst
}

func (v *KeyManagerGetProxyPrivateKeysDec) decode(c *wire.Cursor) {
	v.MinConfigVersion = c.Int()
}

// KeyManagerGetWorkerPrivateKeysDec is the function keyManager.getWorkerPrivateKeys, of type keyManager.PrivateKeys.
type KeyManagerGetWorkerPrivateKeysDec struct {
	MinConfigVersion int32
}

// TLID is the constructor's id.
func (*KeyManagerGetWorkerPrivateKeysDec) TLID() uint32 { return 0x2a26eff5 }

// TLName is the name in the schema.
func (*KeyManagerGetWorkerPrivateKeysDec) TLName() string { return "keyManager.getWorkerPrivateKeys" }

// TLType is the type in the schema: what a constructor makes, what a function answers.
func (*KeyManagerGetWorkerPrivateKeysDec) TLType() string { return "keyManager.PrivateKeys" }

func (*KeyManagerGetWorkerPrivateKeysDec) isFunction() {}

// Size is how many bytes Append appends.
func (v *KeyManagerGetWorkerPrivateKeysDec) Size() int { return 4 + v.bareSize() }

func (*KeyManagerGetWorkerPrivateKeysDec) bareSize() int { return 4 }

// Append writes the value with its id.
func (v *KeyManagerGetWorkerPrivateKeysDec) Append(dst []byte) []byte {
	return v.bare(wire.AppendUint(dst, 0x2a26eff5))
}

func (v *KeyManagerGetWorkerPrivateKeysDec) bare(dst []byte) []byte {
	dst = wire.AppendInt(dst, v.MinConfigVersion)
	return dst
}

func (v *KeyManagerGetWorkerPrivateKeysDec) decode(c *wire.Cursor) {
	v.MinConfigVersion = c.Int()
}

// decode reads the value with the id; nil when there is no such type.
func decode(id uint32, c *wire.Cursor) Object {
	switch id {
	case 0x60551c96:
		v := new(ClientAuthorizationWithProxyFailed)
		v.decode(c)
		return v
	case 0x75d5ac34:
		v := new(ClientAuthorizationWithProxySuccess)
		v.decode(c)
		return v
	case 0x95317ad1:
		v := new(ClientConnectedToProxy)
		v.decode(c)
		return v
	case 0x40fdca64:
		v := new(ClientParams)
		v.decode(c)
		return v
	case 0xaa8a0ecc:
		v := new(ClientPaymentStatus)
		v.decode(c)
		return v
	case 0x417bf016:
		v := new(ClientProxyConnectionAuthLong)
		v.decode(c)
		return v
	case 0xd6ffc5af:
		v := new(ClientProxyConnectionAuthShort)
		v.decode(c)
		return v
	case 0x9b943922:
		v := new(ClientQueryAnswer)
		v.decode(c)
		return v
	case 0x6d60569a:
		v := new(ClientQueryAnswerError)
		v.decode(c)
		return v
	case 0x072562a8:
		v := new(ClientQueryAnswerErrorEx)
		v.decode(c)
		return v
	case 0xcd524720:
		v := new(ClientQueryAnswerEx)
		v.decode(c)
		return v
	case 0xb765de4c:
		v := new(ClientQueryAnswerPart)
		v.decode(c)
		return v
	case 0xd790a022:
		v := new(ClientQueryAnswerPartError)
		v.decode(c)
		return v
	case 0xc07bfaec:
		v := new(ClientQueryAnswerPartEx)
		v.decode(c)
		return v
	case 0x69a452f0:
		v := new(ClientQueryFinalInfo)
		v.decode(c)
		return v
	case 0x83aabead:
		v := new(ClientRefund)
		v.decode(c)
		return v
	case 0xcf9d9957:
		v := new(ClientRefundRejected)
		v.decode(c)
		return v
	case 0x3ea93d00:
		v := new(ClientWorkerInstanceV2)
		v.decode(c)
		return v
	case 0x8210e21c:
		v := new(ClientWorkerType)
		v.decode(c)
		return v
	case 0xb27d8197:
		v := new(ClientWorkerTypeV2)
		v.decode(c)
		return v
	case 0xf64e0e01:
		v := new(ClientWorkerTypes)
		v.decode(c)
		return v
	case 0x0cf0dc67:
		v := new(ClientWorkerTypesV2)
		v.decode(c)
		return v
	case 0x8e9be511:
		v := new(HTTPHeader)
		v.decode(c)
		return v
	case 0x1cd0c42b:
		v := new(HTTPResponse)
		v.decode(c)
		return v
	case 0x60f4f8e7:
		v := new(KeyManagerPrivateKey)
		v.decode(c)
		return v
	case 0x0ed66ce5:
		v := new(KeyManagerPrivateKeys)
		v.decode(c)
		return v
	case 0xc6bcf127:
		v := new(ProxyClientRequestPayment)
		v.decode(c)
		return v
	case 0xd5c5609f:
		v := new(ProxyParams)
		v.decode(c)
		return v
	case 0x37e5f725:
		v := new(ProxyQueryAnswer)
		v.decode(c)
		return v
	case 0x669d014e:
		v := new(ProxyQueryAnswerError)
		v.decode(c)
		return v
	case 0x8f7fb0a7:
		v := new(ProxyQueryAnswerErrorEx)
		v.decode(c)
		return v
	case 0x1ce574e8:
		v := new(ProxyQueryAnswerEx)
		v.decode(c)
		return v
	case 0x72eb00ee:
		v := new(ProxyQueryAnswerPart)
		v.decode(c)
		return v
	case 0x940e1168:
		v := new(ProxyQueryAnswerPartError)
		v.decode(c)
		return v
	case 0x6d85b50f:
		v := new(ProxyQueryAnswerPartEx)
		v.decode(c)
		return v
	case 0xe794e6fc:
		v := new(ProxyQueryFinalInfo)
		v.decode(c)
		return v
	case 0x02998182:
		v := new(ProxySignedPayment)
		v.decode(c)
		return v
	case 0xb347ce64:
		v := new(ProxySignedPaymentEmpty)
		v.decode(c)
		return v
	case 0x1436c0d5:
		v := new(ProxyWorkerRequestPayment)
		v.decode(c)
		return v
	case 0xa57c4261:
		v := new(TCPConnect)
		v.decode(c)
		return v
	case 0x636d41d6:
		v := new(TCPConnected)
		v.decode(c)
		return v
	case 0x9c17baf8:
		v := new(TCPPacket)
		v.decode(c)
		return v
	case 0xbbe9627c:
		v := new(TCPPing)
		v.decode(c)
		return v
	case 0x0bd4302c:
		v := new(TCPPong)
		v.decode(c)
		return v
	case 0x3af51908:
		v := new(TCPQuery)
		v.decode(c)
		return v
	case 0xc048c311:
		v := new(TCPQueryAnswer)
		v.decode(c)
		return v
	case 0x4cd2f602:
		v := new(TCPQueryError)
		v.decode(c)
		return v
	case 0x0d4fcdb6:
		v := new(TestAnswer)
		v.decode(c)
		return v
	case 0x70c5b15c:
		v := new(TokensUsed)
		v.decode(c)
		return v
	case 0x34029366:
		v := new(WorkerChangedModel)
		v.decode(c)
		return v
	case 0x9054c411:
		v := new(WorkerCompareBalanceWithProxyResult)
		v.decode(c)
		return v
	case 0x66bc82ee:
		v := new(WorkerConnectedToProxy)
		v.decode(c)
		return v
	case 0xb3b71039:
		v := new(WorkerEnabledDisabled)
		v.decode(c)
		return v
	case 0x0c10973e:
		v := new(WorkerExtendedCompareBalanceWithProxyResult)
		v.decode(c)
		return v
	case 0x6af092b0:
		v := new(WorkerNewCoefficient)
		v.decode(c)
		return v
	case 0x869c73ed:
		v := new(WorkerParams)
		v.decode(c)
		return v
	case 0xa88bd701:
		v := new(WorkerPaymentStatus)
		v.decode(c)
		return v
	case 0x3ad9b886:
		v := new(WorkerProxyHandshakeCompleted)
		v.decode(c)
		return v
	case 0x3265a5f8:
		v := new(ClientCancelQuery)
		v.decode(c)
		return v
	case 0x8cd7e668:
		v := new(ProxyCancelQuery)
		v.decode(c)
		return v
	case 0xa07bbc1c:
		v := new(ClientQueryReceipt)
		v.decode(c)
		return v
	case 0x5b23ef17:
		v := new(ProxyQueryStatement)
		v.decode(c)
		return v
	case 0x8d37f30a:
		v := new(ClientQueryCredit)
		v.decode(c)
		return v
	case 0x4c7f1a30:
		v := new(ProxyQueryCredit)
		v.decode(c)
		return v
	case 0x22359b94:
		v := new(ClientSession)
		v.decode(c)
		return v
	case 0x8947fff3:
		v := new(ClientAttestation)
		v.decode(c)
		return v
	case 0xaf0bd51f:
		v := new(ClientRunnerConfig)
		v.decode(c)
		return v
	case 0xd3fc2385:
		v := new(KeyManagerDBConfigEmpty)
		v.decode(c)
		return v
	case 0x6d2817ac:
		v := new(KeyManagerDBConfigV1)
		v.decode(c)
		return v
	case 0x35c91007:
		v := new(KeyManagerDBKey)
		v.decode(c)
		return v
	case 0xec650826:
		v := new(KeyStorageRunnerConfig)
		v.decode(c)
		return v
	case 0x6cfeaa21:
		v := new(ProxyDBClientInfo)
		v.decode(c)
		return v
	case 0x3078c9bf:
		v := new(ProxyDBClientInfoV2)
		v.decode(c)
		return v
	case 0x43dc40b4:
		v := new(ProxyDBConfigEmpty)
		v.decode(c)
		return v
	case 0xbde43703:
		v := new(ProxyDBConfigV4)
		v.decode(c)
		return v
	case 0xad2cfb4a:
		v := new(ProxyDBConfigV4Disabled)
		v.decode(c)
		return v
	case 0x2fae7b42:
		v := new(ProxyDBOldClient)
		v.decode(c)
		return v
	case 0xa8c9e178:
		v := new(ProxyDBOldInstance)
		v.decode(c)
		return v
	case 0xf04156a0:
		v := new(ProxyDBOldWorker)
		v.decode(c)
		return v
	case 0x525b14a9:
		v := new(ProxyDBPendingBlockchainSeqnoCommit)
		v.decode(c)
		return v
	case 0x2517b38f:
		v := new(ProxyDBWorkerInfo)
		v.decode(c)
		return v
	case 0x9a8f2045:
		v := new(ProxyRunnerConfig)
		v.decode(c)
		return v
	case 0xc51207cb:
		v := new(RootConfigConfigV7)
		v.decode(c)
		return v
	case 0xd0035db6:
		v := new(RootConfigPseudo)
		v.decode(c)
		return v
	case 0x9f4e446a:
		v := new(RootConfigRegisteredProxy)
		v.decode(c)
		return v
	case 0x37312ecd:
		v := new(RootConfigRegisteredPublicKey)
		v.decode(c)
		return v
	case 0xbc3f6da5:
		v := new(TONBlockIdExt)
		v.decode(c)
		return v
	case 0x41af605f:
		v := new(WorkerRunnerConfig)
		v.decode(c)
		return v
	case 0xd3474303:
		v := new(ClientAuthorizeWithProxyLong)
		v.decode(c)
		return v
	case 0x6c276723:
		v := new(ClientAuthorizeWithProxyShort)
		v.decode(c)
		return v
	case 0xff5fa0f4:
		v := new(ClientConnectToProxy)
		v.decode(c)
		return v
	case 0x7f062bdb:
		v := new(ClientGetWorkerTypes)
		v.decode(c)
		return v
	case 0xb2133d72:
		v := new(ClientGetWorkerTypesV2)
		v.decode(c)
		return v
	case 0x238d863d:
		v := new(ClientRequestRefund)
		v.decode(c)
		return v
	case 0xbc748f32:
		v := new(ClientRunQuery)
		v.decode(c)
		return v
	case 0xf54cb74b:
		v := new(ClientRunQueryEx)
		v.decode(c)
		return v
	case 0x9ed1c697:
		v := new(ClientUpdatePaymentStatus)
		v.decode(c)
		return v
	case 0x47492de5:
		v := new(HTTPRequest)
		v.decode(c)
		return v
	case 0x4135d0bd:
		v := new(KeyManagerGetProxyPrivateKeys)
		v.decode(c)
		return v
	case 0x4b90e9b1:
		v := new(KeyManagerGetWorkerPrivateKeys)
		v.decode(c)
		return v
	case 0x47182416:
		v := new(ProxyRunQuery)
		v.decode(c)
		return v
	case 0xc805e7e2:
		v := new(ProxyRunQueryEx)
		v.decode(c)
		return v
	case 0x394e9143:
		v := new(TestQuery)
		v.decode(c)
		return v
	case 0x72662cee:
		v := new(WorkerChangeModel)
		v.decode(c)
		return v
	case 0xdb386501:
		v := new(WorkerCompareBalanceWithProxy)
		v.decode(c)
		return v
	case 0xcc484c5d:
		v := new(WorkerConnectToProxy)
		v.decode(c)
		return v
	case 0xf8dd9914:
		v := new(WorkerExtendedCompareBalanceWithProxy)
		v.decode(c)
		return v
	case 0xf843b066:
		v := new(WorkerProxyHandshakeComplete)
		v.decode(c)
		return v
	case 0xdc70a524:
		v := new(WorkerUpdatePaymentStatus)
		v.decode(c)
		return v
	case 0xb42f878b:
		v := new(ClientGetSession)
		v.decode(c)
		return v
	case 0x6af7b3d5:
		v := new(ClientGetAttestation)
		v.decode(c)
		return v
	case 0x4d0a1e17:
		v := new(KeyManagerDBKeyDec)
		v.decode(c)
		return v
	case 0xd7874e40:
		v := new(KeyStorageRunnerConfigDec)
		v.decode(c)
		return v
	case 0x5bf5e272:
		v := new(ProxyRunnerConfigDec)
		v.decode(c)
		return v
	case 0x5e84869b:
		v := new(RootConfigConfigV5Dec)
		v.decode(c)
		return v
	case 0x87a976cc:
		v := new(RootConfigPseudoDec)
		v.decode(c)
		return v
	case 0x870db56d:
		v := new(WorkerRunnerConfigDec)
		v.decode(c)
		return v
	case 0x47a9c2de:
		v := new(KeyManagerGetProxyPrivateKeysDec)
		v.decode(c)
		return v
	case 0x2a26eff5:
		v := new(KeyManagerGetWorkerPrivateKeysDec)
		v.decode(c)
		return v
	}
	return nil
}
