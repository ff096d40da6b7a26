package gatewaytest

// T is what a conformance suite reports to; *testing.T is one.
type T interface {
	Helper()
	Errorf(format string, args ...any)
}

// suite reports broken rules, each with why it is one.
type suite struct {
	T
	subject string // what is tried
	rule    string // that is being tried
	why     string
}

// check runs one rule. A panic breaks it.
func (s *suite) check(rule, why string, try func()) {
	s.Helper()
	s.rule, s.why = rule, why
	defer func() {
		s.Helper()
		if p := recover(); p != nil {
			s.broken("panic: %v", p)
		}
	}()
	try()
}

func (s *suite) broken(format string, args ...any) {
	s.Helper()
	args = append([]any{s.subject, s.rule}, append(args, s.why)...)
	s.Errorf("%s: %s\n\t"+format+"\n\twhy: %s", args...)
}
