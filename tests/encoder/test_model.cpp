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
    const encoder::GalaxyVaeConfig vae{.latents = 5, .gaussians = 3, .width = 8, .couplings = 2};
    encoder::Model model{encoder::EncoderConfig{.max_sources = 2, .width = 4, .head_width = 8, .source_width = 4},
                         encoder::Galaxies{vae, encoder::GalaxyDecoderNet{vae}}};
    model.prior.galaxy_alpha = 0.81;
    model.card.sources_per_tile = 0.02;
    model.card.sources_per_tile_low = 0.01;
    model.card.sources_per_tile_high = 0.03;
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
    CHECK(back.prior.galaxy_alpha == 0.81);
    REQUIRE(back.galaxies);
    CHECK(back.galaxies->config.latents == 5);
    CHECK(encoder::named_weights(back).contains("sources.shape.out.weight"));
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
    const std::string version = "\"version\":\"" + std::to_string(encoder::k_model_version) + "\"";
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

TEST_CASE("parts that do not fit each other are refused") {
    const test::TemporaryFolder folder;
    const auto path = folder.path() / "model.safetensors";
    const encoder::Model model = small_model();
    encoder::save_model(path, model);
    encoder::TensorFile file = encoder::read_tensor_file(path);
    const auto with = [&](const std::string& key, const std::string& from, const std::string& to) {
        encoder::TensorFile changed = file;
        std::string& text = changed.metadata.at(key);
        REQUIRE(text.find(from) != std::string::npos);
        text.replace(text.find(from), from.size(), to);
        encoder::write_tensor_file(path, changed);
    };
    const auto fails = [&](const std::string& reason) {
        CHECK_THROWS_MATCHES(encoder::load_model(path), DataError, MessageMatches(ContainsSubstring(reason)));
    };
    with("galaxies", "latents = 5", "latents = 6");      // a decoder of other latents than the shape's posterior
    fails("another shape");
    with("encoder", "max_sources = 2", "max_sources = 3");
    fails("another shape");
    with("encoder", "reach = 1", "reach = 2");
    fails("another shape");
    with("prior", "label_flux_min_e = 500", "label_flux_min_e = 5");
    fails("must be in this order");
    with("encoder", "flux_low_e = 0", "flux_low_e = 501");
    fails("least flux is above");
    with("card", "\"sources_per_tile_range\":[0.01,0.03]", "\"sources_per_tile_range\":[0.03,0.01]");
    fails("no range of source rates");
    with("card", "\"sources_per_tile\":0.02", "\"sources_per_tile\":0.0");
    fails("no mean in it");
    with("encoder", "max_sources = 2", "max_sources = 9");
    fails("model.safetensors: its ");
    with("encoder", "max_sources = 2", "max_sauces = 2");
    fails("model.safetensors: its settings cannot be read");
    encoder::TensorFile without_galaxies = file;
    without_galaxies.metadata.erase("galaxies");
    std::string& prior = without_galaxies.metadata.at("prior");
    REQUIRE(prior.find("bulge_disk") != std::string::npos);
    prior.replace(prior.find("bulge_disk"), 10, "learnt");
    encoder::write_tensor_file(path, without_galaxies);
    fails("learnt galaxies, but it holds no decoder");
    encoder::TensorFile broken = file;
    broken.tensors.at("detection.head_out.bias") = torch::full_like(file.tensors.at("detection.head_out.bias"), std::nan(""));
    encoder::write_tensor_file(path, broken);
    fails("'detection.head_out.bias' are not finite");
    encoder::TensorFile headless = file;
    std::erase_if(headless.tensors, [](const auto& item) { return item.first.starts_with("sources.shape."); });
    encoder::write_tensor_file(path, headless);
    fails("has no weights 'sources.shape.");
}

TEST_CASE("galaxies are read from a model file or one of their own, and their absence is named") {
    const test::TemporaryFolder folder;
    const encoder::Model model = small_model();
    encoder::save_model(folder.path() / "model.safetensors", model);
    encoder::save_galaxies(folder.path() / "galaxies.safetensors", *model.galaxies, model.prior, {{"report", "{}"}});
    const auto weights = model.galaxies->decoder->named_parameters();
    for (const char* name : {"model.safetensors", "galaxies.safetensors"}) {
        const encoder::Galaxies back = encoder::load_galaxies(folder.path() / name);
        CHECK(back.config.gaussians == 3);
        CHECK_NOTHROW(encoder::load_galaxies_for(model.prior, folder.path() / name));
        simulator::PriorConfig other = model.prior;
        other.size_law = simulator::SizeLaw::gamma;
        CHECK_THROWS_MATCHES(encoder::load_galaxies_for(other, folder.path() / name), ConfigError,
                             MessageMatches(ContainsSubstring("size_law") && ContainsSubstring(name)));
        other = model.prior;
        other.size_ln_scatter = 0.3;
        CHECK_THROWS_AS(encoder::load_galaxies_for(other, folder.path() / name), ConfigError);
        other = model.prior;
        other.size_at_reference_arcsec = 2;  // galaxies are drawn larger, of the same shapes
        CHECK_NOTHROW(encoder::load_galaxies_for(other, folder.path() / name));
        for (const auto& item : back.decoder->named_parameters()) CHECK(torch::equal(item.value(), weights[item.key()]));
    }
    torch::NoGradGuard no_grad;
    weights["layer0.bias"].fill_(std::nan(""));
    encoder::save_galaxies(folder.path() / "broken.safetensors", *model.galaxies, model.prior, {});
    CHECK_THROWS_MATCHES(encoder::load_galaxies(folder.path() / "broken.safetensors"), DataError,
                         MessageMatches(ContainsSubstring("weights 'galaxies.layer0.bias' are not finite")));
    encoder::Model plain{model.config};
    plain.card = model.card;
    encoder::save_model(folder.path() / "plain.safetensors", plain);
    CHECK_THROWS_MATCHES(encoder::load_galaxies(folder.path() / "plain.safetensors"), DataError,
                         MessageMatches(ContainsSubstring("holds no galaxy decoder")));
    CHECK_THROWS_MATCHES(encoder::load_model(folder.path() / "galaxies.safetensors"), DataError,
                         MessageMatches(ContainsSubstring("not a bliss model")));
    CHECK_FALSE(encoder::load_model(folder.path() / "plain.safetensors").galaxies);
}

TEST_CASE("a file that cannot be written leaves nothing behind") {
    const test::TemporaryFolder folder;
    CHECK_THROWS_AS(encoder::save_model(folder.path() / "absent" / "m.safetensors", small_model()), IoError);
    CHECK(std::filesystem::is_empty(folder.path()));
}
