package api

import "cocoon/contracts/api/jsonscan"

// action is what becomes of a field.
type action uint8

const (
	// keep, what a row says by saying nothing, sends the field to the engine as it is.
	keep action = iota
	// rewrite is for fields that the worker's adapter writes anew for its engine.
	rewrite
	// consume is for fields that the proxy acts on and cuts.
	consume
	// reject refuses the request.
	reject
)

// check judges a value and may note it in the request. A ruleError carries its own code; any other error takes the row's.
type check func(r *Request, v jsonscan.Value, lim Limits) error

// field is one row of the policy.
type field struct {
	endpoints Endpoint
	action    action
	check     check
	// code is what a failed check means.
	code Code
	why  string
	// required fields may not be null.
	required bool
}

const (
	text       = Chat | Completions
	everywhere = Chat | Completions | Embeddings | Responses
	talk       = Chat | Responses
)

// fields is the table of inference.md section 4, by name.
func fields() map[string]field {
	rules := make(map[string]field, 100)
	for _, rows := range []map[string]field{sampling(), content(), tools(), extensions(), encryption(), refused()} {
		for name, f := range rows {
			if f.code == "" {
				f.code = InvalidValue
			}
			rules[name] = f
		}
	}
	return rules
}

func sampling() map[string]field {
	return map[string]field{
		"temperature":           {endpoints: text | Responses, check: number(0, 2)},
		"top_p":                 {endpoints: text | Responses, check: number(0, 1)},
		"top_k":                 {endpoints: text, check: integer(-1, 100_000)},
		"min_p":                 {endpoints: text, check: number(0, 1)},
		"frequency_penalty":     {endpoints: text, check: number(-2, 2)},
		"presence_penalty":      {endpoints: text, check: number(-2, 2)},
		"repetition_penalty":    {endpoints: text, check: above(0, 10)},
		"stop":                  {endpoints: text, check: stops},
		"stop_token_ids":        {endpoints: text, check: integers(64)},
		"min_tokens":            {endpoints: text, check: integer(0, maxInteger)},
		"ignore_eos":            {endpoints: text, check: boolean},
		"skip_special_tokens":   {endpoints: text, check: boolean},
		"seed":                  {endpoints: text, check: anyInteger},
		"logit_bias":            {endpoints: text, check: logitBias},
		"logprobs":              {endpoints: text, check: logprobs},
		"top_logprobs":          {endpoints: Chat, check: integer(0, 20)},
		"n":                     {endpoints: text, check: choices},
		"best_of":               {endpoints: Completions, check: integer(1, 1), code: UnsupportedValue},
		"max_tokens":            {endpoints: text, action: rewrite, check: maxTokens},
		"max_completion_tokens": {endpoints: text, action: rewrite, check: maxTokens},
		"max_output_tokens":     {endpoints: Responses, check: maxTokens},
		"stream_options":        {endpoints: text, action: rewrite, check: streamOptions},
		"stream":                {endpoints: text | Responses, check: stream},
	}
}

func content() map[string]field {
	return map[string]field{
		"messages":        {endpoints: Chat, check: messages, required: true},
		"prompt":          {endpoints: Completions, check: prompt, required: true},
		"input":           {endpoints: Embeddings | Responses, check: input, required: true},
		"model":           {endpoints: everywhere, check: model, required: true},
		"prediction":      {endpoints: Chat},
		"modalities":      {endpoints: Chat, check: onlyText},
		"echo":            {endpoints: Completions},
		"suffix":          {endpoints: Completions},
		"encoding_format": {endpoints: Embeddings},
		"dimensions":      {endpoints: Embeddings},
		"instructions":    {endpoints: Responses},
		"text":            {endpoints: Responses},
		"reasoning":       {endpoints: Responses},
		"truncation":      {endpoints: Responses},
		"include":         {endpoints: Responses, check: include},
	}
}

func tools() map[string]field {
	return map[string]field{
		"tools":                {endpoints: talk, check: toolList},
		"tool_choice":          {endpoints: talk},
		"parallel_tool_calls":  {endpoints: talk},
		"functions":            {endpoints: Chat},
		"function_call":        {endpoints: Chat},
		"response_format":      {endpoints: Chat, check: responseFormat},
		"reasoning_effort":     {endpoints: talk, check: textUpTo(32)},
		"verbosity":            {endpoints: talk, check: textUpTo(32)},
		"chat_template_kwargs": {endpoints: Chat, check: templateSwitches},
	}
}

func extensions() map[string]field {
	return map[string]field{
		"max_coefficient":        {endpoints: everywhere, action: consume, check: maxCoefficient},
		"timeout":                {endpoints: everywhere, action: consume, check: timeout},
		"enable_debug":           {endpoints: everywhere, action: consume, check: debug},
		"request_guid":           {endpoints: everywhere, action: consume, check: guid},
		"user":                   {endpoints: everywhere, action: consume, check: routeSecret(3)},
		"safety_identifier":      {endpoints: everywhere, action: consume, check: routeSecret(2)},
		"prompt_cache_key":       {endpoints: everywhere, action: consume, check: routeSecret(1)},
		"prompt_cache_retention": {endpoints: everywhere, action: consume},
		"prompt_cache_options":   {endpoints: everywhere, action: consume},
		"metadata":               {endpoints: everywhere, action: consume, check: metadata},
		"service_tier":           {endpoints: everywhere, action: consume, check: oneOf("auto", "default"), code: UnsupportedValue},
		"store":                  {endpoints: talk, action: consume, check: mustBeFalse, code: UnsupportedValue},
		"provider":               {endpoints: everywhere, action: consume, check: provider},
	}
}

func encryption() map[string]field {
	return map[string]field{
		"is_encrypted":        {endpoints: everywhere, check: oneOf("v1")},
		"sender_public_key":   {endpoints: everywhere, check: textUpTo(64)},
		"receiver_public_key": {endpoints: everywhere, check: textUpTo(64)},
		"encryption_nonce":    {endpoints: everywhere, check: textUpTo(64)},
	}
}

// refused lists the fields that would let a caller reach the engine's inside, another caller's data or the network.
func refused() map[string]field {
	const inside, state = "it reaches the engine's inside", "no state is kept"
	return map[string]field{
		"chat_template":              {endpoints: everywhere, action: reject, why: "template code would run inside the TEE"},
		"add_generation_prompt":      {endpoints: Chat, action: reject},
		"continue_final_message":     {endpoints: Chat, action: reject},
		"logits_processors":          {endpoints: everywhere, action: reject, why: "it loads code"},
		"kv_transfer_params":         {endpoints: everywhere, action: reject, why: inside},
		"ec_transfer_params":         {endpoints: everywhere, action: reject, why: inside},
		"mm_processor_kwargs":        {endpoints: everywhere, action: reject, why: inside},
		"media_io_kwargs":            {endpoints: everywhere, action: reject, why: inside},
		"documents":                  {endpoints: Chat, action: reject},
		"prompt_logprobs":            {endpoints: text, action: reject, why: "its cost is not priced"},
		"return_token_ids":           {endpoints: everywhere, action: reject},
		"return_tokens_as_token_ids": {endpoints: everywhere, action: reject},
		"return_hidden_states":       {endpoints: everywhere, action: reject},
		"return_progress":            {endpoints: everywhere, action: reject},
		"priority":                   {endpoints: everywhere, action: reject},
		"request_id":                 {endpoints: everywhere, action: reject},
		"session_id":                 {endpoints: everywhere, action: reject},
		"cache_salt":                 {endpoints: everywhere, action: reject, why: "the proxy alone sets it"},
		"use_beam_search":            {endpoints: text, action: reject},
		"background":                 {endpoints: Responses, action: reject},
		"previous_response_id":       {endpoints: Responses, action: reject, why: state},
		"conversation":               {endpoints: Responses, action: reject, why: state},
		"web_search_options":         {endpoints: Chat, action: reject},
		"audio":                      {endpoints: Chat, action: reject},
		"moderation":                 {endpoints: Chat, action: reject},
	}
}
