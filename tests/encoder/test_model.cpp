#include "bliss/encoder/model.hpp"

#include "bliss/core/error.hpp"
#include "support/temporary_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <torch/torch.h>

#include <fstream>

namespace {

using namespace bliss;
using bliss::test::bytes_of;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

encoder::Model small_model() {
    torch::manual_seed(11);
    encoder::Model model{encoder::EncoderConfig{.max_sources = 2, .width = 4, .head_width = 8, .classifier_width = 4}};
    model.card.sources_per_tile = 0.02;
    model.card.training_config = "steps = 3\n";
    model.card.metrics = "{\"a\": 1}";
    return model;
}

void write_bytes(const std::filesystem::path& path, const std::string& bytes) { std::ofstream{path, std::ios::binary} << bytes; }

}  // namespace

TEST_CASE("a model file gives back weights, shape and card, and its bytes depend on them alone") {
    const test::TemporaryFolder folder;
    const encoder::Model model = small_model();
    encoder::save_model(folder.path() / "a.safetensors", model);
    encoder::save_model(folder.path() / "b.safetensors", model);
    CHECK(bytes_of(folder.path() / "a.safetensors") == bytes_of(folder.path() / "b.safetensors"));
    const encoder::Model back = encoder::load_model(folder.path() / "a.safetensors");
    CHECK(back.config.max_sources == 2);
    CHECK(back.card.sources_per_tile == 0.02);
    CHECK(back.card.training_config == "steps = 3\n");
    const auto weights = encoder::named_weights(model), read = encoder::named_weights(back);
    REQUIRE(weights.size() == read.size());
    for (const auto& [name, tensor] : weights) CHECK(torch::equal(tensor, read.at(name)));
}

TEST_CASE("files that are not usable models are named with the reason") {
    const test::TemporaryFolder folder;
    const auto path = folder.path() / "model.safetensors";
    CHECK_THROWS_MATCHES(encoder::load_model(path), DataError, MessageMatches(ContainsSubstring("model.safetensors: no such file")));
    encoder::save_model(path, small_model());
    const std::string good = bytes_of(path);

    write_bytes(path, good.substr(0, good.size() - 100));
    CHECK_THROWS_MATCHES(encoder::load_model(path), DataError, MessageMatches(ContainsSubstring("truncated")));
    write_bytes(path, good.substr(0, 40));
    CHECK_THROWS_MATCHES(encoder::load_model(path), DataError, MessageMatches(ContainsSubstring("truncated")));
    write_bytes(path, "this is no tensor file at all");
    CHECK_THROWS_MATCHES(encoder::load_model(path), DataError, MessageMatches(ContainsSubstring("not a tensor file")));

    std::string other = good;
    const std::string version = "\"version\":\"2\"";
    REQUIRE(other.find(version) != std::string::npos);
    other.replace(other.find(version), version.size(), "\"version\":\"9\"");
    write_bytes(path, other);
    CHECK_THROWS_MATCHES(encoder::load_model(path), DataError, MessageMatches(ContainsSubstring("model version 9")));

    // Shapes that are larger than the file, overflow, are none, or fill eight bytes only in part.
    for (const std::string shape : {"[1000000000000]", "[4294967296,4294967296,4294967296]", "[-3]", "[1]"}) {
        const std::string header = "{\"x\":{\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":[0,8]}}";
        const std::uint64_t length = header.size();
        write_bytes(path, std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + std::string(8, '\0'));
        CHECK_THROWS_MATCHES(encoder::load_model(path), DataError, MessageMatches(ContainsSubstring("tensor 'x' does not fit")));
    }

    encoder::TensorFile file;
    file.tensors["x"] = torch::zeros({2});
    encoder::write_tensor_file(path, file);
    CHECK_THROWS_MATCHES(encoder::load_model(path), DataError, MessageMatches(ContainsSubstring("not a bliss model")));
}

TEST_CASE("a file that cannot be written leaves nothing behind") {
    const test::TemporaryFolder folder;
    CHECK_THROWS_AS(encoder::save_model(folder.path() / "absent" / "m.safetensors", small_model()), IoError);
    CHECK(std::filesystem::is_empty(folder.path()));
}
