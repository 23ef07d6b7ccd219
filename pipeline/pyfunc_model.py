"""The registered model as MLflow serves it: image bytes in, the mask as PNG out. MLflow runs this file as it stands."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from pipeline.images import ImageError, Limits, decode_image, encode_mask
from pipeline.inference import Segmenter


class ServedSegmenter(PythonModel):
    """Segments encoded images of any size."""

    def load_context(self, context: PythonModelContext) -> None:
        """Opens the exported graph and lets it prove itself on the samples that travel with it.

        Args:
            context: Names the folder of the export and the limits of decoding.
        """
        self.segmenter = Segmenter(Path(context.artifacts["export"]))
        self.segmenter.self_test()
        self.limits = Limits(**context.model_config)

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Segments a batch.

        Args:
            context: Not used.
            model_input: The column `image` holds encoded images (PNG, JPEG and what else Pillow reads).
            params: Not used.

        Returns:
            A row for each image: `mask` (PNG, 8-bit, class ids, as large as the image is shown) and `confidence` (mean
            over the pixels, 0 to 1).

        Raises:
            MlflowException: An image cannot be read or is too large; the server answers 400.
        """
        del context, params
        rows = [self._segment(number, data) for number, data in enumerate(model_input["image"])]
        return pd.DataFrame(rows, columns=["mask", "confidence"])

    def _segment(self, number: int, data: bytes) -> tuple[bytes, float]:
        try:
            image = decode_image(data, self.limits)
        except ImageError as error:
            raise MlflowException.invalid_parameter_value(f"image {number}: {error}") from None
        prediction = self.segmenter.predict(image)
        return encode_mask(prediction.labels), float(prediction.confidence.mean(dtype="float64"))


mlflow.models.set_model(ServedSegmenter())
