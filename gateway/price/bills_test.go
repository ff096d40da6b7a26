package price

import (
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// billed is what one answer costs, worked out by hand: tokens × USD per million is micro-dollars, each class rounded up to the
// nano-dollar.
type billed struct {
	model string
	usage gateway.Usage
	tier  string
	want  gateway.NanoUSD
}

// bills are priced by the embedded book, and so hold its figures as well as the arithmetic.
var bills = []billed{
	{"anthropic/claude-opus-5", gateway.Usage{Input: 1000, Output: 500}, "", 17_500_000},                                                                            // 1,000 × 5 + 500 × 25 = 17,500 µ$
	{"anthropic/claude-opus-5", gateway.Usage{Input: 7, CacheRead: 20_000, Output: 311}, "", 17_810_000},                                                            // 7 × 5 + 20,000 × 0.5 + 311 × 25 = 17,810 µ$
	{"anthropic/claude-opus-5", gateway.Usage{Input: 3, CacheWrite: 4096, Output: 12}, "", 25_915_000},                                                              // 3 × 5 + 4,096 × 6.25 + 12 × 25 = 25,915 µ$
	{"anthropic/claude-opus-5", gateway.Usage{Input: 3, CacheWrite1h: 4096, Output: 12}, "", 41_275_000},                                                            // 3 × 5 + 4,096 × 10 + 12 × 25 = 41,275 µ$
	{"anthropic/claude-opus-5", gateway.Usage{Input: 12, CacheRead: 90_001, CacheWrite: 1733, CacheWrite1h: 512, Output: 201, Reasoning: 1799}, "", 111_011_750},    // 12 × 5 + 90,001 × 0.5 + 1,733 × 6.25 + 512 × 10 + 201 × 25 + 1,799 × 25 = 111,011.75 µ$
	{"anthropic/claude-opus-5", gateway.Usage{Input: 10_105, Output: 380, WebSearches: 3}, "", 90_025_000},                                                          // 10,105 × 5 + 380 × 25 + 3 searches × 0.01 $ = 90,025 µ$
	{"anthropic/claude-opus-5-5", gateway.Usage{Input: 1000, Output: 500}, "", 14_000_000},                                                                          // 1,000 × 4 + 500 × 20 = 14,000 µ$
	{"anthropic/claude-opus-5-5", gateway.Usage{Input: 7, CacheRead: 20_000, Output: 311}, "", 10_248_000},                                                          // 7 × 4 + 20,000 × 0.2 + 311 × 20 = 10,248 µ$
	{"anthropic/claude-opus-5-5", gateway.Usage{Input: 3, CacheWrite: 4096, Output: 12}, "", 20_732_000},                                                            // 3 × 4 + 4,096 × 5 + 12 × 20 = 20,732 µ$
	{"anthropic/claude-opus-5-5", gateway.Usage{Input: 3, CacheWrite1h: 4096, Output: 12}, "", 33_020_000},                                                          // 3 × 4 + 4,096 × 8 + 12 × 20 = 33,020 µ$
	{"anthropic/claude-opus-5-5", gateway.Usage{Input: 12, CacheRead: 90_001, CacheWrite: 1733, CacheWrite1h: 512, Output: 201, Reasoning: 1799}, "", 70_809_200},   // 12 × 4 + 90,001 × 0.2 + 1,733 × 5 + 512 × 8 + 201 × 20 + 1,799 × 20 = 70,809.2 µ$
	{"anthropic/claude-opus-5-5", gateway.Usage{Input: 10_105, Output: 380, WebSearches: 3}, "", 78_020_000},                                                        // 10,105 × 4 + 380 × 20 + 3 searches × 0.01 $ = 78,020 µ$
	{"anthropic/claude-sonnet-5", gateway.Usage{Input: 1000, Output: 500}, "", 7_000_000},                                                                           // 1,000 × 2 + 500 × 10 = 7,000 µ$
	{"anthropic/claude-sonnet-5", gateway.Usage{Input: 7, CacheRead: 20_000, Output: 311}, "", 7_124_000},                                                           // 7 × 2 + 20,000 × 0.2 + 311 × 10 = 7,124 µ$
	{"anthropic/claude-sonnet-5", gateway.Usage{Input: 3, CacheWrite: 4096, Output: 12}, "", 10_366_000},                                                            // 3 × 2 + 4,096 × 2.5 + 12 × 10 = 10,366 µ$
	{"anthropic/claude-sonnet-5", gateway.Usage{Input: 3, CacheWrite1h: 4096, Output: 12}, "", 16_510_000},                                                          // 3 × 2 + 4,096 × 4 + 12 × 10 = 16,510 µ$
	{"anthropic/claude-sonnet-5", gateway.Usage{Input: 12, CacheRead: 90_001, CacheWrite: 1733, CacheWrite1h: 512, Output: 201, Reasoning: 1799}, "", 44_404_700},   // 12 × 2 + 90,001 × 0.2 + 1,733 × 2.5 + 512 × 4 + 201 × 10 + 1,799 × 10 = 44,404.7 µ$
	{"anthropic/claude-sonnet-5", gateway.Usage{Input: 10_105, Output: 380, WebSearches: 3}, "", 54_010_000},                                                        // 10,105 × 2 + 380 × 10 + 3 searches × 0.01 $ = 54,010 µ$
	{"anthropic/claude-sonnet-5-5", gateway.Usage{Input: 1000, Output: 500}, "", 7_000_000},                                                                         // 1,000 × 2 + 500 × 10 = 7,000 µ$
	{"anthropic/claude-sonnet-5-5", gateway.Usage{Input: 7, CacheRead: 20_000, Output: 311}, "", 5_124_000},                                                         // 7 × 2 + 20,000 × 0.1 + 311 × 10 = 5,124 µ$
	{"anthropic/claude-sonnet-5-5", gateway.Usage{Input: 3, CacheWrite: 4096, Output: 12}, "", 10_366_000},                                                          // 3 × 2 + 4,096 × 2.5 + 12 × 10 = 10,366 µ$
	{"anthropic/claude-sonnet-5-5", gateway.Usage{Input: 3, CacheWrite1h: 4096, Output: 12}, "", 16_510_000},                                                        // 3 × 2 + 4,096 × 4 + 12 × 10 = 16,510 µ$
	{"anthropic/claude-sonnet-5-5", gateway.Usage{Input: 12, CacheRead: 90_001, CacheWrite: 1733, CacheWrite1h: 512, Output: 201, Reasoning: 1799}, "", 35_404_600}, // 12 × 2 + 90,001 × 0.1 + 1,733 × 2.5 + 512 × 4 + 201 × 10 + 1,799 × 10 = 35,404.6 µ$
	{"anthropic/claude-sonnet-5-5", gateway.Usage{Input: 10_105, Output: 380, WebSearches: 3}, "", 54_010_000},                                                      // 10,105 × 2 + 380 × 10 + 3 searches × 0.01 $ = 54,010 µ$
	{"anthropic/claude-haiku-4-5", gateway.Usage{Input: 1000, Output: 500}, "", 3_500_000},                                                                          // 1,000 × 1 + 500 × 5 = 3,500 µ$
	{"anthropic/claude-haiku-4-5", gateway.Usage{Input: 7, CacheRead: 20_000, Output: 311}, "", 3_562_000},                                                          // 7 × 1 + 20,000 × 0.1 + 311 × 5 = 3,562 µ$
	{"anthropic/claude-haiku-4-5", gateway.Usage{Input: 3, CacheWrite: 4096, Output: 12}, "", 5_183_000},                                                            // 3 × 1 + 4,096 × 1.25 + 12 × 5 = 5,183 µ$
	{"anthropic/claude-haiku-4-5", gateway.Usage{Input: 3, CacheWrite1h: 4096, Output: 12}, "", 8_255_000},                                                          // 3 × 1 + 4,096 × 2 + 12 × 5 = 8,255 µ$
	{"anthropic/claude-haiku-4-5", gateway.Usage{Input: 12, CacheRead: 90_001, CacheWrite: 1733, CacheWrite1h: 512, Output: 201, Reasoning: 1799}, "", 22_202_350},  // 12 × 1 + 90,001 × 0.1 + 1,733 × 1.25 + 512 × 2 + 201 × 5 + 1,799 × 5 = 22,202.35 µ$
	{"anthropic/claude-haiku-4-5", gateway.Usage{Input: 10_105, Output: 380, WebSearches: 3}, "", 42_005_000},                                                       // 10,105 × 1 + 380 × 5 + 3 searches × 0.01 $ = 42,005 µ$
	{"anthropic/claude-fable-5-1", gateway.Usage{Input: 1000, Output: 500}, "", 35_000_000},                                                                         // 1,000 × 10 + 500 × 50 = 35,000 µ$
	{"anthropic/claude-fable-5-1", gateway.Usage{Input: 7, CacheRead: 20_000, Output: 311}, "", 20_620_000},                                                         // 7 × 10 + 20,000 × 0.25 + 311 × 50 = 20,620 µ$
	{"anthropic/claude-fable-5-1", gateway.Usage{Input: 3, CacheWrite: 4096, Output: 12}, "", 51_830_000},                                                           // 3 × 10 + 4,096 × 12.5 + 12 × 50 = 51,830 µ$
	{"anthropic/claude-fable-5-1", gateway.Usage{Input: 3, CacheWrite1h: 4096, Output: 12}, "", 82_550_000},                                                         // 3 × 10 + 4,096 × 20 + 12 × 50 = 82,550 µ$
	{"anthropic/claude-fable-5-1", gateway.Usage{Input: 12, CacheRead: 90_001, CacheWrite: 1733, CacheWrite1h: 512, Output: 201, Reasoning: 1799}, "", 154_522_750}, // 12 × 10 + 90,001 × 0.25 + 1,733 × 12.5 + 512 × 20 + 201 × 50 + 1,799 × 50 = 154,522.75 µ$
	{"anthropic/claude-fable-5-1", gateway.Usage{Input: 10_105, Output: 380, WebSearches: 3}, "", 150_050_000},                                                      // 10,105 × 10 + 380 × 50 + 3 searches × 0.01 $ = 150,050 µ$
	{"anthropic/claude-opus-4-1", gateway.Usage{Input: 1000, Output: 500}, "", 52_500_000},                                                                          // 1,000 × 15 + 500 × 75 = 52,500 µ$
	{"anthropic/claude-opus-4-1", gateway.Usage{Input: 7, CacheRead: 20_000, Output: 311}, "", 53_430_000},                                                          // 7 × 15 + 20,000 × 1.5 + 311 × 75 = 53,430 µ$
	{"anthropic/claude-opus-4-1", gateway.Usage{Input: 3, CacheWrite: 4096, Output: 12}, "", 77_745_000},                                                            // 3 × 15 + 4,096 × 18.75 + 12 × 75 = 77,745 µ$
	{"anthropic/claude-opus-4-1", gateway.Usage{Input: 3, CacheWrite1h: 4096, Output: 12}, "", 123_825_000},                                                         // 3 × 15 + 4,096 × 30 + 12 × 75 = 123,825 µ$
	{"anthropic/claude-opus-4-1", gateway.Usage{Input: 12, CacheRead: 90_001, CacheWrite: 1733, CacheWrite1h: 512, Output: 201, Reasoning: 1799}, "", 333_035_250},  // 12 × 15 + 90,001 × 1.5 + 1,733 × 18.75 + 512 × 30 + 201 × 75 + 1,799 × 75 = 333,035.25 µ$
	{"anthropic/claude-opus-4-1", gateway.Usage{Input: 10_105, Output: 380, WebSearches: 3}, "", 210_075_000},                                                       // 10,105 × 15 + 380 × 75 + 3 searches × 0.01 $ = 210,075 µ$
	{"anthropic/claude-3-haiku", gateway.Usage{Input: 1000, Output: 500}, "", 875_000},                                                                              // 1,000 × 0.25 + 500 × 1.25 = 875 µ$
	{"anthropic/claude-3-haiku", gateway.Usage{Input: 7, CacheRead: 20_000, Output: 311}, "", 990_500},                                                              // 7 × 0.25 + 20,000 × 0.03 + 311 × 1.25 = 990.5 µ$
	{"anthropic/claude-3-haiku", gateway.Usage{Input: 3, CacheWrite: 4096, Output: 12}, "", 1_244_550},                                                              // 3 × 0.25 + 4,096 × 0.3 + 12 × 1.25 = 1,244.55 µ$
	{"anthropic/claude-3-haiku", gateway.Usage{Input: 3, CacheWrite1h: 4096, Output: 12}, "", 2_063_750},                                                            // 3 × 0.25 + 4,096 × 0.5 + 12 × 1.25 = 2,063.75 µ$
	{"anthropic/claude-3-haiku", gateway.Usage{Input: 12, CacheRead: 90_001, CacheWrite: 1733, CacheWrite1h: 512, Output: 201, Reasoning: 1799}, "", 5_978_930},     // 12 × 0.25 + 90,001 × 0.03 + 1,733 × 0.3 + 512 × 0.5 + 201 × 1.25 + 1,799 × 1.25 = 5,978.93 µ$
	{"anthropic/claude-3-haiku", gateway.Usage{Input: 10_105, Output: 380, WebSearches: 3}, "", 33_001_250},                                                         // 10,105 × 0.25 + 380 × 1.25 + 3 searches × 0.01 $ = 33,001.25 µ$
	{"anthropic/claude-opus-5", gateway.Usage{Input: 1001, Output: 333}, "batch", 6_665_000},                                                                        // (1,001 × 5 + 333 × 25) × 1/2 = 6,665 µ$
	{"anthropic/claude-opus-5-5", gateway.Usage{Input: 1001, Output: 333}, "batch", 5_332_000},                                                                      // (1,001 × 4 + 333 × 20) × 1/2 = 5,332 µ$
	{"anthropic/claude-sonnet-5", gateway.Usage{Input: 1001, Output: 333}, "batch", 2_666_000},                                                                      // (1,001 × 2 + 333 × 10) × 1/2 = 2,666 µ$
	{"anthropic/claude-sonnet-5-5", gateway.Usage{Input: 1001, Output: 333}, "batch", 2_666_000},                                                                    // (1,001 × 2 + 333 × 10) × 1/2 = 2,666 µ$
	{"anthropic/claude-haiku-4-5", gateway.Usage{Input: 1001, Output: 333}, "batch", 1_333_000},                                                                     // (1,001 × 1 + 333 × 5) × 1/2 = 1,333 µ$
	{"anthropic/claude-fable-5-1", gateway.Usage{Input: 1001, Output: 333}, "batch", 13_330_000},                                                                    // (1,001 × 10 + 333 × 50) × 1/2 = 13,330 µ$
	{"anthropic/claude-opus-5", gateway.Usage{Input: 1000, CacheRead: 5000, Output: 77, Geo: "us"}, "", 10_367_500},                                                 // (1,000 × 5 + 5,000 × 0.5 + 77 × 25) × 11/10 = 10,367.5 µ$
	{"anthropic/claude-opus-5", gateway.Usage{Input: 1000, Output: 77, WebSearches: 2, Geo: "us"}, "", 27_617_500},                                                  // tokens × 11/10: 1,000 × 5 + 77 × 25 + 2 searches × 0.01 $ = 27,617.5 µ$; searches are not multiplied
	{"anthropic/claude-opus-5", gateway.Usage{Input: 1000, Output: 77, Geo: "eu"}, "", 6_925_000},                                                                   // 1,000 × 5 + 77 × 25 = 6,925 µ$; only the US costs more
	{"anthropic/claude-opus-5", gateway.Usage{Input: 999, Output: 77, Geo: "us"}, "batch", 3_806_000},                                                               // (999 × 5 + 77 × 25) × 11/20 = 3,806 µ$
	{"anthropic/claude-sonnet-5", gateway.Usage{Input: 1000, CacheRead: 5000, Output: 77, Geo: "us"}, "", 4_147_000},                                                // (1,000 × 2 + 5,000 × 0.2 + 77 × 10) × 11/10 = 4,147 µ$
	{"anthropic/claude-sonnet-5", gateway.Usage{Input: 1000, Output: 77, WebSearches: 2, Geo: "us"}, "", 23_047_000},                                                // tokens × 11/10: 1,000 × 2 + 77 × 10 + 2 searches × 0.01 $ = 23,047 µ$; searches are not multiplied
	{"anthropic/claude-sonnet-5", gateway.Usage{Input: 1000, Output: 77, Geo: "eu"}, "", 2_770_000},                                                                 // 1,000 × 2 + 77 × 10 = 2,770 µ$; only the US costs more
	{"anthropic/claude-sonnet-5", gateway.Usage{Input: 999, Output: 77, Geo: "us"}, "batch", 1_522_400},                                                             // (999 × 2 + 77 × 10) × 11/20 = 1,522.4 µ$
	{"anthropic/claude-fable-5-1", gateway.Usage{Input: 1000, CacheRead: 5000, Output: 77, Geo: "us"}, "", 16_610_000},                                              // (1,000 × 10 + 5,000 × 0.25 + 77 × 50) × 11/10 = 16,610 µ$
	{"anthropic/claude-fable-5-1", gateway.Usage{Input: 1000, Output: 77, WebSearches: 2, Geo: "us"}, "", 35_235_000},                                               // tokens × 11/10: 1,000 × 10 + 77 × 50 + 2 searches × 0.01 $ = 35,235 µ$; searches are not multiplied
	{"anthropic/claude-fable-5-1", gateway.Usage{Input: 1000, Output: 77, Geo: "eu"}, "", 13_850_000},                                                               // 1,000 × 10 + 77 × 50 = 13,850 µ$; only the US costs more
	{"anthropic/claude-fable-5-1", gateway.Usage{Input: 999, Output: 77, Geo: "us"}, "batch", 7_612_000},                                                            // (999 × 10 + 77 × 50) × 11/20 = 7,612 µ$
	{"anthropic/claude-sonnet-4-6", gateway.Usage{Input: 1000, CacheRead: 5000, Output: 77, Geo: "us"}, "", 6_220_500},                                              // (1,000 × 3 + 5,000 × 0.3 + 77 × 15) × 11/10 = 6,220.5 µ$
	{"anthropic/claude-sonnet-4-6", gateway.Usage{Input: 1000, Output: 77, WebSearches: 2, Geo: "us"}, "", 24_570_500},                                              // tokens × 11/10: 1,000 × 3 + 77 × 15 + 2 searches × 0.01 $ = 24,570.5 µ$; searches are not multiplied
	{"anthropic/claude-sonnet-4-6", gateway.Usage{Input: 1000, Output: 77, Geo: "eu"}, "", 4_155_000},                                                               // 1,000 × 3 + 77 × 15 = 4,155 µ$; only the US costs more
	{"anthropic/claude-sonnet-4-6", gateway.Usage{Input: 999, Output: 77, Geo: "us"}, "batch", 2_283_600},                                                           // (999 × 3 + 77 × 15) × 11/20 = 2,283.6 µ$
	{"anthropic/claude-opus-4-8", gateway.Usage{Input: 1000, CacheRead: 2000, CacheWrite: 300, Output: 400, Speed: "fast"}, "", 35_750_000},                         // (1,000 × 5 + 2,000 × 0.5 + 300 × 6.25 + 400 × 25) × 2 = 35,750 µ$
	{"anthropic/claude-opus-5", gateway.Usage{Input: 1000, CacheRead: 2000, CacheWrite: 300, Output: 400, Speed: "fast"}, "", 35_750_000},                           // (1,000 × 5 + 2,000 × 0.5 + 300 × 6.25 + 400 × 25) × 2 = 35,750 µ$
	{"anthropic/claude-opus-5", gateway.Usage{Input: 1000, Output: 400, Speed: "standard"}, "", 15_000_000},                                                         // 1,000 × 5 + 400 × 25 = 15,000 µ$
	{"anthropic/claude-opus-5", gateway.Usage{Input: 1000, Output: 400}, "priority", 15_000_000},                                                                    // 1,000 × 5 + 400 × 25 = 15,000 µ$; a commitment: list price
	{"anthropic/claude-haiku-4-5", gateway.Usage{Input: 1000, Output: 400, Geo: "us"}, "", 3_000_000},                                                               // 1,000 × 1 + 400 × 5 = 3,000 µ$; this model has no regional price
	{"anthropic/claude-sonnet-4-5", gateway.Usage{Input: 200_000, Output: 100}, "", 601_500_000},                                                                    // 200,000 × 3 + 100 × 15 = 601,500 µ$; not over 200,000
	{"anthropic/claude-sonnet-4-5", gateway.Usage{Input: 200_001, Output: 100}, "", 1_202_256_000},                                                                  // 200,001 × 6 + 100 × 22.5 = 1,202,256 µ$; over 200,000: all of it
	{"anthropic/claude-sonnet-4-5", gateway.Usage{Input: 1, CacheRead: 199_999, Output: 100}, "", 61_502_700},                                                       // 1 × 3 + 199,999 × 0.3 + 100 × 15 = 61,502.7 µ$; not over 200,000
	{"anthropic/claude-sonnet-4-5", gateway.Usage{Input: 1, CacheRead: 199_999, CacheWrite: 1, Output: 100}, "", 122_262_900},                                       // 1 × 6 + 199,999 × 0.6 + 1 × 7.5 + 100 × 22.5 = 122,262.9 µ$; over 200,000: all of it
	{"anthropic/claude-sonnet-4-5", gateway.Usage{Input: 1, CacheRead: 150_000, CacheWrite1h: 50_000, Output: 100}, "", 692_256_000},                                // 1 × 6 + 150,000 × 0.6 + 50,000 × 12 + 100 × 22.5 = 692,256 µ$; over 200,000: all of it
	{"anthropic/claude-sonnet-4-5", gateway.Usage{Input: 300_000, Output: 1}, "batch", 900_011_250},                                                                 // (300,000 × 6 + 1 × 22.5) × 1/2 = 900,011.25 µ$
	{"anthropic/claude-sonnet-4-6", gateway.Usage{Input: 300_000, Output: 1}, "", 900_015_000},                                                                      // 300,000 × 3 + 1 × 15 = 900,015 µ$; no surcharge since 4.6
	{"openai/gpt-5", gateway.Usage{Input: 1000, Output: 500}, "", 6_250_000},                                                                                        // 1,000 × 1.25 + 500 × 10 = 6,250 µ$
	{"openai/gpt-5", gateway.Usage{Input: 976, CacheRead: 1024, Output: 100, Reasoning: 1900}, "", 21_348_000},                                                      // 976 × 1.25 + 1,024 × 0.125 + 100 × 10 + 1,900 × 10 = 21,348 µ$
	{"openai/gpt-5", gateway.Usage{Input: 1, Output: 1}, "", 11_250},                                                                                                // 1 × 1.25 + 1 × 10 = 11.25 µ$
	{"openai/gpt-5-nano", gateway.Usage{Input: 1000, Output: 500}, "", 250_000},                                                                                     // 1,000 × 0.05 + 500 × 0.4 = 250 µ$
	{"openai/gpt-5-nano", gateway.Usage{Input: 976, CacheRead: 1024, Output: 100, Reasoning: 1900}, "", 853_920},                                                    // 976 × 0.05 + 1,024 × 0.005 + 100 × 0.4 + 1,900 × 0.4 = 853.92 µ$
	{"openai/gpt-5-nano", gateway.Usage{Input: 1, Output: 1}, "", 450},                                                                                              // 1 × 0.05 + 1 × 0.4 = 0.45 µ$
	{"openai/gpt-5.4", gateway.Usage{Input: 1000, Output: 500}, "", 10_000_000},                                                                                     // 1,000 × 2.5 + 500 × 15 = 10,000 µ$
	{"openai/gpt-5.4", gateway.Usage{Input: 976, CacheRead: 1024, Output: 100, Reasoning: 1900}, "", 32_696_000},                                                    // 976 × 2.5 + 1,024 × 0.25 + 100 × 15 + 1,900 × 15 = 32,696 µ$
	{"openai/gpt-5.4", gateway.Usage{Input: 1, Output: 1}, "", 17_500},                                                                                              // 1 × 2.5 + 1 × 15 = 17.5 µ$
	{"openai/gpt-5.5", gateway.Usage{Input: 1000, Output: 500}, "", 20_000_000},                                                                                     // 1,000 × 5 + 500 × 30 = 20,000 µ$
	{"openai/gpt-5.5", gateway.Usage{Input: 976, CacheRead: 1024, Output: 100, Reasoning: 1900}, "", 65_392_000},                                                    // 976 × 5 + 1,024 × 0.5 + 100 × 30 + 1,900 × 30 = 65,392 µ$
	{"openai/gpt-5.5", gateway.Usage{Input: 1, Output: 1}, "", 35_000},                                                                                              // 1 × 5 + 1 × 30 = 35 µ$
	{"openai/o3", gateway.Usage{Input: 1000, Output: 500}, "", 6_000_000},                                                                                           // 1,000 × 2 + 500 × 8 = 6,000 µ$
	{"openai/o3", gateway.Usage{Input: 976, CacheRead: 1024, Output: 100, Reasoning: 1900}, "", 18_464_000},                                                         // 976 × 2 + 1,024 × 0.5 + 100 × 8 + 1,900 × 8 = 18,464 µ$
	{"openai/o3", gateway.Usage{Input: 1, Output: 1}, "", 10_000},                                                                                                   // 1 × 2 + 1 × 8 = 10 µ$
	{"openai/gpt-4o-mini", gateway.Usage{Input: 1000, Output: 500}, "", 450_000},                                                                                    // 1,000 × 0.15 + 500 × 0.6 = 450 µ$
	{"openai/gpt-4o-mini", gateway.Usage{Input: 976, CacheRead: 1024, Output: 100, Reasoning: 1900}, "", 1_423_200},                                                 // 976 × 0.15 + 1,024 × 0.075 + 100 × 0.6 + 1,900 × 0.6 = 1,423.2 µ$
	{"openai/gpt-4o-mini", gateway.Usage{Input: 1, Output: 1}, "", 750},                                                                                             // 1 × 0.15 + 1 × 0.6 = 0.75 µ$
	{"openai/gpt-5", gateway.Usage{Input: 1000, CacheRead: 500, Output: 50}, "flex", 906_250},                                                                       // (1,000 × 1.25 + 500 × 0.125 + 50 × 10) × 1/2 = 906.25 µ$
	{"openai/gpt-5", gateway.Usage{Input: 1000, Output: 50}, "default", 1_750_000},                                                                                  // 1,000 × 1.25 + 50 × 10 = 1,750 µ$
	{"openai/gpt-5", gateway.Usage{Input: 1000, Output: 50}, "scale", 1_750_000},                                                                                    // 1,000 × 1.25 + 50 × 10 = 1,750 µ$; a commitment
	{"openai/gpt-5", gateway.Usage{Input: 1000, CacheRead: 500, Output: 50}, "priority", 3_625_000},                                                                 // 1,000 × 2.5 + 500 × 0.25 + 50 × 20 = 3,625 µ$
	{"openai/gpt-5", gateway.Usage{Input: 1000, CacheRead: 500, Output: 50}, "fast", 3_625_000},                                                                     // 1,000 × 2.5 + 500 × 0.25 + 50 × 20 = 3,625 µ$; fast is billed as priority
	{"openai/gpt-5", gateway.Usage{Input: 1000, Output: 50, WebSearches: 4}, "", 41_750_000},                                                                        // 1,000 × 1.25 + 50 × 10 + 4 searches × 0.01 $ = 41,750 µ$
	{"openai/o3", gateway.Usage{Input: 1000, CacheRead: 500, Output: 50}, "priority", 4_637_500},                                                                    // 1,000 × 3.5 + 500 × 0.875 + 50 × 14 = 4,637.5 µ$
	{"openai/gpt-5.4", gateway.Usage{Input: 272_000, Output: 10}, "", 680_150_000},                                                                                  // 272,000 × 2.5 + 10 × 15 = 680,150 µ$
	{"openai/gpt-5.4", gateway.Usage{Input: 272_001, Output: 10}, "", 1_360_230_000},                                                                                // 272,001 × 5 + 10 × 22.5 = 1,360,230 µ$
	{"openai/gpt-5.4", gateway.Usage{Input: 2001, CacheRead: 270_000, Output: 10}, "", 145_230_000},                                                                 // 2,001 × 5 + 270,000 × 0.5 + 10 × 22.5 = 145,230 µ$
	{"openai/gpt-5.4", gateway.Usage{Input: 272_001, Output: 10}, "flex", 680_115_000},                                                                              // (272,001 × 5 + 10 × 22.5) × 1/2 = 680,115 µ$
	{"openai/gpt-5.5", gateway.Usage{Input: 300_000, CacheRead: 5, Output: 10, Reasoning: 20}, "", 3_001_355_000},                                                   // 300,000 × 10 + 5 × 1 + 10 × 45 + 20 × 45 = 3,001,355 µ$
	{"openai/gpt-5.5", gateway.Usage{Input: 1000, CacheWrite: 400, CacheWrite1h: 100, Output: 10}, "", 7_800_000},                                                   // 1,000 × 5 + 400 × 5 + 100 × 5 + 10 × 30 = 7,800 µ$; no price for writes: as input
	{"openai/gpt-4o-audio-preview", gateway.Usage{Input: 20, AudioIn: 1000, Output: 30, AudioOut: 400}, "", 72_350_000},                                             // 20 × 2.5 + 1,000 × 40 + 30 × 10 + 400 × 80 = 72,350 µ$
	{"openai/text-embedding-3-small", gateway.Usage{Input: 1}, "", 20},                                                                                              // 1 × 0.02 = 0.02 µ$
	{"openai/text-embedding-3-small", gateway.Usage{Input: 8191}, "", 163_820},                                                                                      // 8,191 × 0.02 = 163.82 µ$
	{"openai/text-embedding-3-large", gateway.Usage{Input: 7}, "", 910},                                                                                             // 7 × 0.13 = 0.91 µ$
	{"gemini/gemini-2.5-pro", gateway.Usage{Input: 200_000, Output: 10, Reasoning: 990}, "", 260_000_000},                                                           // 200,000 × 1.25 + 10 × 10 + 990 × 10 = 260,000 µ$
	{"gemini/gemini-2.5-pro", gateway.Usage{Input: 200_001, Output: 10, Reasoning: 990}, "", 515_002_500},                                                           // 200,001 × 2.5 + 10 × 15 + 990 × 15 = 515,002.5 µ$
	{"gemini/gemini-2.5-pro", gateway.Usage{Input: 100, CacheRead: 250_000, Output: 10}, "", 62_900_000},                                                            // 100 × 2.5 + 250,000 × 0.25 + 10 × 15 = 62,900 µ$
	{"gemini/gemini-3-pro-preview", gateway.Usage{Input: 1000, Output: 200, Reasoning: 300}, "", 8_000_000},                                                         // 1,000 × 2 + 200 × 12 + 300 × 12 = 8,000 µ$
	{"gemini/gemini-3-pro-preview", gateway.Usage{Input: 1000, CacheRead: 40, Output: 200}, "priority", 7_934_400},                                                  // 1,000 × 3.6 + 40 × 0.36 + 200 × 21.6 = 7,934.4 µ$
	{"gemini/gemini-3-pro-preview", gateway.Usage{Input: 200_100, CacheRead: 40, Output: 200}, "priority", 1_447_228_800},                                           // 200,100 × 7.2 + 40 × 0.72 + 200 × 32.4 = 1,447,228.8 µ$
	{"gemini/gemini-3-pro-preview", gateway.Usage{Input: 200_100, CacheRead: 40, Output: 200}, "batch", 402_008_000},                                                // (200,100 × 4 + 40 × 0.4 + 200 × 18) × 1/2 = 402,008 µ$
	{"gemini/gemini-2.5-flash", gateway.Usage{Input: 500, AudioIn: 1920, Output: 60, Reasoning: 40}, "", 2_320_000},                                                 // 500 × 0.3 + 1,920 × 1 + 60 × 2.5 + 40 × 2.5 = 2,320 µ$
	{"gemini/gemini-2.5-flash", gateway.Usage{Input: 500, ImageIn: 258, Output: 60}, "", 377_400},                                                                   // 500 × 0.3 + 258 × 0.3 + 60 × 2.5 = 377.4 µ$
	{"gemini/gemini-2.5-flash-image", gateway.Usage{Input: 12, ImageOut: 1290}, "", 38_703_600},                                                                     // 12 × 0.3 + 1,290 × 30 = 38,703.6 µ$
	{"gemini/gemini-3.5-flash", gateway.Usage{Input: 3, CacheRead: 7, AudioIn: 11, Output: 13, Reasoning: 17}, "", 292_050},                                         // 3 × 1.5 + 7 × 0.15 + 11 × 1.5 + 13 × 9 + 17 × 9 = 292.05 µ$
	{"gemini/gemini-embedding-001", gateway.Usage{Input: 33}, "", 4_950},                                                                                            // 33 × 0.15 = 4.95 µ$
	{"xai/grok-4.3", gateway.Usage{Input: 1000, CacheRead: 200, Output: 50, Reasoning: 500}, "", 2_665_000},                                                         // 1,000 × 1.25 + 200 × 0.2 + 50 × 2.5 + 500 × 2.5 = 2,665 µ$
	{"xai/grok-4.3", gateway.Usage{Input: 200_000, CacheRead: 1, Output: 50}, "", 500_250_400},                                                                      // 200,000 × 2.5 + 1 × 0.4 + 50 × 5 = 500,250.4 µ$
}

func TestBillsComeOutAsWorkedOutByHand(t *testing.T) {
	if len(bills) < 120 {
		t.Fatalf("got %d bills, want at least 120", len(bills))
	}
	book := embeddedBook(t)
	for _, b := range bills {
		e, status := book.Look(split(b.model))
		if status != names.PriceStatusExact {
			t.Errorf("%s: found as %s, want exact", b.model, status)
			continue
		}
		r := gateway.Result{Usage: b.usage, ServiceTier: b.tier}
		c, ok := costOf(e, &r)
		if !ok || c.Total != b.want {
			t.Errorf("%s %+v %s: got %d nano-dollars, want %d", b.model, b.usage, b.tier, c.Total, b.want)
		}
		var sum gateway.NanoUSD
		for _, n := range c.Classes {
			sum += n
		}
		if sum != c.Total || c.Input()+c.CacheRead()+c.CacheWrite()+c.Output()+c.Other() != c.Total {
			t.Errorf("%s: the classes make %d, the total is %d", b.model, sum, c.Total)
		}
	}
}
