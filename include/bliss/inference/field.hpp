#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/encoder/model.hpp"
#include "bliss/inference/config.hpp"
#include "bliss/survey/frame.hpp"

#include <vector>

namespace bliss::inference {

/// A model made ready to catalogue frames.
class Cataloguer {
public:
    /// @param precision float32 or bfloat16 (encoder::choose_precision)
    Cataloguer(encoder::Model model, const CatalogConfig& config, encoder::Precision precision);

    /// Wall-clock seconds of the stages of one frame.
    struct Timing {
        double prepare_s = 0, detect_s = 0, candidates_s = 0, classify_s = 0;
    };

    struct Result {
        catalog::FieldRow field{};
        std::vector<catalog::SourceRow> sources;
        Timing timing;
    };

    /// Frame -> tiles -> posterior -> candidates joined over borders -> star or galaxy -> rows.
    /// @throws DataError when the model is of another band. Warns where the frame lies outside what the model was trained on.
    [[nodiscard]] Result catalogue(const survey::Frame& frame);

    [[nodiscard]] const encoder::Model& model() const { return model_; }

private:
    encoder::Model model_;
    CatalogConfig config_;
};

}  // namespace bliss::inference
