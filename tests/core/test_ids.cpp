#include "bliss/core/ids.hpp"

#include "bliss/core/error.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace bliss;

TEST_CASE("a field's name is three numbers") {
    CHECK(parse_field_id("94-1-12") == FieldId{94, 1, 12});
    CHECK(to_string(FieldId{94, 1, 12}) == "94-1-12");
    for (const char* text : {"", "94", "94-1", "94-1-", "94-1-12-3", "94/1/12", "94-1-12 ", "-94-1-12", "94-1-x", "94-*-12", "94-1-1:2"})
        CHECK_THROWS_AS(parse_field_id(text), ConfigError);
}

TEST_CASE("fields are named together by ranges and wildcards") {
    const FieldPattern one = parse_field_pattern("94-1-12");
    CHECK(one.single());
    CHECK(one.matches({94, 1, 12}));
    CHECK_FALSE(one.matches({94, 1, 13}));
    const FieldPattern range = parse_field_pattern("94-1-11:40");
    CHECK_FALSE(range.single());
    for (const int field : {11, 12, 40}) CHECK(range.matches({94, 1, field}));
    for (const FieldId other : {FieldId{94, 1, 10}, {94, 1, 41}, {94, 2, 12}, {95, 1, 12}}) CHECK_FALSE(range.matches(other));
    const FieldPattern stripe = parse_field_pattern("94:125-*-*");
    CHECK(stripe.matches({94, 6, 800}));
    CHECK(stripe.matches({125, 1, 0}));
    CHECK_FALSE(stripe.matches({126, 1, 0}));
    for (const char* text : {"", "*", "94-*", "94-*-", "94-1-40:11", "94-1-11:", "94-1-:40", "94-1-11:40x", "94-**-1", "94-1-12-*"})
        CHECK_THROWS_AS(parse_field_pattern(text), ConfigError);
}
