package config

func (d *decoder) litellm(c *Config, n *node) {}
func (d *decoder) litellmListen(c *Config)    {}
func split(root *node) (own, litellm *node)   { return root, nil }
